"""Tests of what runs around the stream."""
