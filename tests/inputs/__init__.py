"""Tests of stream/inputs: messages of each format, as producers send them."""
