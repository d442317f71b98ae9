"""Labels whose texts producers choose: the type of a transaction, the channel of a conversation.

A text is cleaned as the value of a segment is. A partition keeps 200 of them apart, those that it met first; what comes
beyond counts as `other`. Of all partitions together the 20 greatest are shown by name.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest

from stream.core.segments import OTHER, UNKNOWN
from stream.core.tally import Field

NAMED_TEXTS = 20
_KEPT_APART = 200


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


def greatest(counts: Mapping[str, int]) -> list[str]:
    """The texts that are shown by name: those that count most, equal ones in order of the text."""
    ranked = ((-count, text) for text, count in counts.items() if text != OTHER)
    return [text for _, text in nsmallest(NAMED_TEXTS, ranked)]


def by_name(counts: Mapping[str, int], names: Iterable[str], *, whole: int) -> dict[str, int]:
    """What is told by name: of those with a name, of all `other`, and the rest of the whole as `unknown`."""
    told = {name: counts.get(name, 0) for name in names}
    told[OTHER] = sum(counts.values()) - sum(told.values())
    told[UNKNOWN] = whole - sum(counts.values())
    return told
