"""The elements of a JSON array, one after the other, without reading it as a whole.

Several arrays may follow one another, as in files with an array in each line.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator

_BLOCK_BYTES = 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")

# Numbers are not needed, so they stay text: it is faster, and none is too large.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str)


class BrokenArray(ValueError):
    """What should be a JSON array is none."""


def elements_of(
    read: Callable[[int], bytes], *, max_bytes: int, on_bytes_read: Callable[[], None] = lambda: None
) -> Iterator[bytes]:
    """The elements of an array, each with its bytes as they are.

    Raises BrokenArray where it is broken, or an element has more than `max_bytes`: where the next one begins can't
    be known then.
    """
    text = _Text(read, on_bytes_read)
    count = 0
    while text.next_character():
        _expect(text, "[", count)
        while text.next_character() != "]":
            yield _element(text, count, max_bytes)
            count += 1
            if text.next_character() != ",":
                break
            text.skip(1)
        _expect(text, "]", count)


def _expect(text: "_Text", character: str, count: int) -> None:
    found = text.next_character()
    if found != character:
        told = f"{found!r} stands there" if found else "the file ends"
        raise BrokenArray(f"no whole JSON array: after {count:,} elements {told} instead of {character!r}")
    text.skip(1)


def _element(text: "_Text", count: int, max_bytes: int) -> bytes:
    while True:
        try:
            _, end = _decoder.raw_decode(text.held, text.at)
        except (ValueError, RecursionError) as error:
            if len(text.held) - text.at <= max_bytes and text.read_more():
                continue
            raise BrokenArray(f"no whole JSON array: element {count + 1:,} can't be read: {error}") from None
        # A number goes on in the next block, perhaps.
        if end == len(text.held) and text.read_more():
            continue
        element = text.held[text.at : end]
        text.skip(end - text.at)
        return element.encode(errors="surrogateescape")


class _Text:
    """The part of a text that is needed."""

    def __init__(self, read: Callable[[int], bytes], on_bytes_read: Callable[[], None]) -> None:
        self._read = read
        self._on_bytes_read = on_bytes_read
        # Bytes that are no UTF-8 stay what they are, for the one who reads the element.
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        self.held = ""
        self.at = 0

    def read_more(self) -> bool:
        """Read a block; returns whether there was one."""
        block = self._read(_BLOCK_BYTES)
        self._on_bytes_read()
        more = self._decode.decode(block, final=not block)
        self.held, self.at = self.held[self.at :] + more, 0
        return bool(block)

    def next_character(self) -> str:
        """The next character that is no space, without taking it; empty at the end."""
        while True:
            found = _SPACE.match(self.held, self.at)
            assert found is not None, "no space is a match too"
            self.at = found.end()
            if self.at < len(self.held):
                return self.held[self.at]
            if not self.read_more():
                return ""

    def skip(self, count: int) -> None:
        """Take some characters."""
        self.at += count
