"""Simulate a population of users that looks real, and send its events; replay recorded events; an embedded broker."""
