"""Ids that are used again: a session id after ten days, a response id after half a year.

Events with one id belong to one thing as long as no two neighbours are further apart than a pause. What comes after a
longer pause is another thing with the same id. So this follows from the times of events alone, and it makes no
difference whether the first thing is still stored when the second one begins.

It holds for the end of each day too: what comes later never decides which of the events before it belong together.

A part stores the things of its user by id. Of several things with one id the latest has the id itself as its key. The
keys of the others have the id and a time. Ids are trimmed, and such a key ends with a blank, so no id is like it.
"""

from collections.abc import Callable, MutableMapping
from typing import TypeVar

from stream.core.time import DAY_MS

# Steps of one session id that are further apart belong to two sessions, and so do summaries, from the end of one to the
# beginning of the other.
LONGEST_PAUSE_MS = DAY_MS

Thing = TypeVar("Thing")

TimeSpan = tuple[int, int]  # the times of the first and of the last event of a thing


def is_near(span: TimeSpan, other: TimeSpan, pause_ms: int) -> bool:
    """Whether events of two spans belong to one thing."""
    return span[0] - pause_ms <= other[1] and other[0] <= span[1] + pause_ms


def of_both(one: TimeSpan, other: TimeSpan) -> TimeSpan:
    """The span of all events of two spans."""
    return min(one[0], other[0]), max(one[1], other[1])


def keys_near(
    things: MutableMapping[str, Thing],
    name: str,
    span: TimeSpan,
    pause_ms: int,
    span_of: Callable[[Thing], TimeSpan],
) -> list[str]:
    """The keys of the things with this id to which events of a span belong: several if the events join them."""
    latest = things.get(name)
    if latest is None:
        return []
    of_latest = span_of(latest)
    if span[0] >= of_latest[0]:  # nearly always: no earlier thing is near
        return [name] if span[0] <= of_latest[1] + pause_ms else []
    keys = [name, *(key for key in things if _is_earlier(key, name))]
    return [key for key in keys if is_near(span_of(things[key]), span, pause_ms)]


def _is_earlier(key: str, name: str) -> bool:
    return key.startswith(f"{name} ") and key.endswith(" ") and key[len(name) + 1 : -1].isdigit()


def put(
    things: MutableMapping[str, Thing], name: str, thing: Thing, near: list[str], span_of: Callable[[Thing], TimeSpan]
) -> None:
    """Store a thing in the place of those near it, which are parts of it."""
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


def _key_of_earlier(name: str, thing: Thing, span_of: Callable[[Thing], TimeSpan]) -> str:
    return f"{name} {span_of(thing)[0]} "
