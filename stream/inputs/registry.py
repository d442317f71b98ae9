"""The formats of inputs, and the readers of each."""

from collections.abc import Callable, Mapping

from stream.core.families.registry import message_kinds
from stream.core.messages import Reader
from stream.inputs import native

NATIVE = "native"

# By format: a function that returns the reader of a kind of messages. It raises KeyError for an unknown kind.
_FORMATS: Mapping[str, Callable[[str], Reader]] = {NATIVE: lambda kind: native.reader_of(message_kinds()[kind])}

FORMATS = tuple(_FORMATS)


def kinds() -> tuple[str, ...]:
    """The kinds of native messages."""
    return tuple(message_kinds())


def reader(*, format: str, kind: str) -> Reader:  # noqa: A002  as the setting is called
    """The reader of an input."""
    return _FORMATS[format](kind)
