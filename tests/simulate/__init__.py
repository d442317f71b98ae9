"""Tests of stream/simulate."""
