"""Who was active, and how many."""
