"""Labels whose texts producers choose: the type of a transaction, the channel of a conversation.

A text is cleaned as the value of a segment is. A partition keeps 200 of them apart, those that it met first; what comes
beyond counts as `other`. Of all partitions together the 20 greatest are shown by name.

What the longest window knows is shown of all windows, with 0 in those that have none of it. So there is `other` where
more than 20 are known, and `unknown` where some named none: most deployments have neither, and each would be a series
of every window.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest

from stream.core.segments import OTHER, UNKNOWN
from stream.core.tally import Field

NAMED_TEXTS = 20
_KEPT_APART = 200

_REST = (OTHER, UNKNOWN)


class LabelTexts:
    """The texts of one label that a partition keeps apart. Their fields begin with one of these letters."""

    def __init__(self, letters: str, *, max_texts: int = _KEPT_APART) -> None:
        self._letters = frozenset(letters)
        self._max_texts = max_texts
        self._kept: set[str] = set()
        self._looked_at = -1

    def of(self, text: str) -> str:
        """The text as it is counted; an empty one stays empty."""
        if not text or text in self._kept:
            return text
        if len(self._kept) >= self._max_texts:
            return OTHER
        self._kept.add(text)
        return text

    def make_room(self, day: int, tallies: Callable[[], Iterable[Mapping[Field, int]]]) -> None:
        """Once a day, if there is no room for one more, keep those alone that are booked anywhere."""
        if len(self._kept) >= self._max_texts and self._looked_at != day:
            self._looked_at = day
            self.keep(tallies())

    def keep(self, tallies: Iterable[Mapping[Field, int]]) -> None:
        """Keep those alone that are booked anywhere."""
        self._kept = {
            field[1:] for tally in tallies for field in tally if isinstance(field, str) and field[0] in self._letters
        }


def counts_of(letter: str, tally: Mapping[Field, int]) -> dict[str, int]:
    """What a tally holds by text."""
    return {field[1:]: amount for field, amount in tally.items() if isinstance(field, str) and field.startswith(letter)}


def names_in(longest: Mapping[str, int], *, whole: int) -> list[str]:
    """What is shown of all windows, by what the longest one holds: the texts that count most, equal ones in order of
    the text, and `other` and `unknown` where something counts so.

    Where nothing counts it is `unknown` alone, so that the whole is 0 and not absent.
    """
    ranked = ((-count, text) for text, count in longest.items() if text != OTHER)
    names = [text for _, text in nsmallest(NAMED_TEXTS, ranked)]
    if len(names) < len(longest):
        names.append(OTHER)
    if whole > sum(longest.values()) or not names:
        names.append(UNKNOWN)
    return names


def by_name(counts: Mapping[str, int], names: Iterable[str], *, whole: int) -> dict[str, int]:
    """What one window holds of each name: of a text itself, of `other` all that have no name, and the rest of the
    whole of `unknown`.
    """
    told = {name: counts.get(name, 0) for name in names if name not in _REST}
    rest = {OTHER: sum(counts.values()) - sum(told.values()), UNKNOWN: whole - sum(counts.values())}
    return told | {name: rest[name] for name in names if name in _REST}
