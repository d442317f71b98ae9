"""The Faust side: topics in, batches through the core, checkpoints out."""
