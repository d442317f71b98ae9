"""A seeded population that looks real: who the users are, what they do, what goes wrong on the way."""
