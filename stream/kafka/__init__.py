"""All use of Kafka outside of Faust: topics, client options, consumer groups, record headers and producers."""
