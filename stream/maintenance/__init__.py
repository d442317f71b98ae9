"""Maintenance of a deployment while no worker runs: inspect state, reset or accept it, and add partitions."""
