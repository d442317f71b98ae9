"""The worker: a Faust app that brings batches to the core and checkpoints to Kafka and the store."""
