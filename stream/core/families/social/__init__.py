"""Interactions on social networks, mentions of the brand, and how many people its pages reach."""
