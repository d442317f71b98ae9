"""Ids that are used again: a session id after ten days, a response id after half a year.

What is told under one id is of one thing as long as no two neighbours lie further apart than a pause. What comes after
a longer one is of another thing that has the same id. So it follows from the times of events alone, and it makes no
difference whether the first thing is still remembered when the second one comes.

A part holds the things of its user by id. Of several things of one id it holds the latest by the id itself, and the
others by a key that has a time too. Ids are trimmed, and such a key ends with a blank: no id is like it.
"""

from collections.abc import Callable, MutableMapping
from typing import TypeVar

from stream.core.time import DAY_MS

# Steps of one session id that lie further apart belong to two sessions, and so do summaries by their ends.
LONGEST_PAUSE_MS = DAY_MS

Thing = TypeVar("Thing")

Span = tuple[int, int]  # the times of the first and of the last event of a thing


def is_near(span: Span, at_ms: int, pause_ms: int) -> bool:
    """Whether an event at this time is of the same thing as those of a span."""
    return span[0] - pause_ms <= at_ms <= span[1] + pause_ms


def of_both(one: Span, other: Span) -> Span:
    """The span of all events of two spans."""
    return min(one[0], other[0]), max(one[1], other[1])


def keys_near(
    things: MutableMapping[str, Thing], name: str, at_ms: int, pause_ms: int, span_of: Callable[[Thing], Span]
) -> list[str]:
    """The keys of those things of one id that an event at this time is of; more than one if it joins them."""
    latest = things.get(name)
    if latest is None:
        return []
    first_ms, last_ms = span_of(latest)
    if at_ms >= first_ms:  # nearly always: no earlier thing is near
        return [name] if at_ms <= last_ms + pause_ms else []
    keys = [name, *(key for key in things if _is_earlier(key, name))]
    return [key for key in keys if is_near(span_of(things[key]), at_ms, pause_ms)]


def _is_earlier(key: str, name: str) -> bool:
    return key.startswith(f"{name} ") and key.endswith(" ") and key[len(name) + 1 : -1].isdigit()


def put(
    things: MutableMapping[str, Thing], name: str, thing: Thing, near: list[str], span_of: Callable[[Thing], Span]
) -> None:
    """Put a thing in the place of those near it, which are parts of it."""
    for key in near:
        if key != name:
            del things[key]
    latest = things.get(name)
    if latest is None or name in near:
        things[name] = thing
    elif span_of(latest) < span_of(thing):
        things[_key_of_earlier(name, latest, span_of)] = latest
        things[name] = thing
    else:
        things[_key_of_earlier(name, thing, span_of)] = thing


def _key_of_earlier(name: str, thing: Thing, span_of: Callable[[Thing], Span]) -> str:
    return f"{name} {span_of(thing)[0]} "
# temporary
