"""Stores: where the state of a partition lives between checkpoints. All keep the same delta."""
