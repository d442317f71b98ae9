"""Tests of stream/agents."""
