"""What stands between the bytes of a message and its JSON: the frame of a schema registry, Avro, Protobuf, Debezium."""
