"""The worker: a Faust app that passes batches to the core, and writes checkpoints to Kafka and the store."""
