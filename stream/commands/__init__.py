"""The commands of `engagement`: one module for each group of commands."""
