"""Events that another partition has read and sent here, because their users belong here."""

from stream.core.events import Event, decode_event
from stream.core.families.registry import events
from stream.core.messages import Reader, Record
from stream.core.rules import Rules


def forwarded_event_reader(rules: Rules) -> Reader:
    """What reads records that carry an event instead of a message."""
    types = events(rules)

    def read(record: Record) -> Event:
        value = record.value
        assert value is not None, "who sends an event on sends all of it"
        return decode_event(value, types)

    return read
