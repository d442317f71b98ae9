"""Tests against brokers: a real Apache Kafka and the one of the demo."""
