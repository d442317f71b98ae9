"""What the rules of another tool make of the same events, and which rule makes which part of the difference."""
