"""Dead letters: list the messages that workers could not use, and send them back to their topics."""
