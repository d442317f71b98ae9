"""One partition of the stream: its users, its totals, and how far it has read."""
