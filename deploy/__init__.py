"""What runs around the stream."""
