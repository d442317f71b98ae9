"""What is done to a deployment while no worker runs: looking at state, deciding about it, more partitions."""
