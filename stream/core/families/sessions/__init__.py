"""How long people stay, how much they look at, and who leaves at once."""
