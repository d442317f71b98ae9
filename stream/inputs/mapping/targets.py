"""What a message can be mapped to: the events that native messages tell, by name.

The values that tell the messages of a kind apart are the names (`page_view`, `summary`, `nps`); a kind without such
values is one event by its own name (`logins`). The kind itself (`sessions`) is a name too, for mappings that say by a
field which of its events a message is. Every family brings its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from stream.core.families.registry import message_kinds
from stream.core.messages import MessageKind, Time
from stream.core.privacy import PRIVACY


@dataclass(frozen=True, slots=True)
class Target:
    """An event of native messages."""

    name: str
    messages: MessageKind
    hints: dict[str, Any]  # the type of each field
    told_by: str | None  # the value of the field that tells messages of this kind apart; None: it is mapped too

    @property
    def required(self) -> list[str]:
        """The fields that such a message must have."""
        known = self.messages.type_field if self.told_by is not None else ""
        without_default = [field.name for field in msgspec.structs.fields(self.messages.message_type) if field.required]
        needed = self.messages.needs.get(self.told_by or "", ())
        return [name for name in (*without_default, *needed) if name != known]


def targets() -> dict[str, Target]:
    """All events, by name."""
    found: dict[str, Target] = {}
    taken_twice = set[str]()
    for kind, message_type in message_kinds().items():
        if kind == PRIVACY.kind:
            continue  # who is to be erased is told by a message of its own, and by no rule of a mapping
        hints = get_type_hints(message_type.message_type, include_extras=True)
        found[kind] = Target(kind, message_type, hints, None)
        for value in _values(hints.get(message_type.type_field)):
            if value in found:
                taken_twice.add(value)
            found.setdefault(value, Target(value, message_type, hints, value))
            found[f"{kind}.{value}"] = Target(f"{kind}.{value}", message_type, hints, value)
    # A name that two kinds have says nothing: then only the one with its kind does.
    return {name: target for name, target in found.items() if name not in taken_twice or target.told_by is None}


def names() -> list[str]:
    """The names of events as messages list them: the short ones."""
    return [name for name in targets() if "." not in name]


def _values(hint: Any) -> Iterator[str]:
    for option in options(hint):
        if get_origin(option) is Literal:
            yield from get_args(option)
        elif isinstance(option, type) and issubclass(option, Enum):
            yield from (member.value for member in option)


def options(hint: Any) -> list[Any]:
    """The types of a union, else the type itself."""
    return list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]


def is_time(hint: Any) -> bool:
    """Whether a field is a time."""
    return hint in (Time, Time | None)


def literal_fields() -> frozenset[str]:
    """The fields that hold a number, true or false in every native message that has them, and never a text."""
    types: dict[str, set[Any]] = {}
    for kind in message_kinds().values():
        for name, hint in get_type_hints(kind.message_type, include_extras=True).items():
            types.setdefault(name, set()).update(_plain(option) for option in options(hint))
    return frozenset(name for name, its_types in types.items() if its_types <= {int, float, bool, type(None)})


def _plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint
