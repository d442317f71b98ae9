"""Makes events of the bytes of messages. Like the core it does no I/O, except `files`, which reads files."""
