"""Reviews: stars that customers gave in a shop or on a portal."""
