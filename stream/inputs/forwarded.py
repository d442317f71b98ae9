"""Reads events that another partition has forwarded, because their users belong to this partition."""

from stream.core.events import Event, decode_event
from stream.core.families.registry import events
from stream.core.messages import Reader, Record
from stream.core.rules import Rules


def forwarded_event_reader(rules: Rules) -> Reader:
    """A reader of records whose value is an event instead of a message."""
    types = events(rules)

    def read(record: Record) -> Event:
        value = record.value
        assert value is not None, "a forwarded record has an event"
        return decode_event(value, types)

    return read
