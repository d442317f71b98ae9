"""Customer health: one score a user for each closed day, of what the other families know of the user."""
