"""The commands of `engagement`, a module for each group of them."""
