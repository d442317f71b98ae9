"""The stores that keep the state of a partition between checkpoints: RocksDB, Redis or memory."""
