"""Dead letters: which there are, and sending them back."""
