"""The server: merges what workers report and shows it. Stateless; any number may run."""
