"""The pure core: what every number means. No I/O, no clock, no randomness, no await."""
