"""What is done with Kafka outside of Faust: topics, options, offsets, headers, and what is written."""
