"""Benches: figures printed with what they are compared to, and the correctness of what was measured."""
