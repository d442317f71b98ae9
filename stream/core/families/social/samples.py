"""What interactions and audiences add to tallies, and the numbers that follow from sums."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from stream.core.families.social.metrics import AUDIENCE, ENGAGEMENT, INTERACTIONS, MENTIONS
from stream.core.families.social.part import Interaction, Kind
from stream.core.label_texts import by_name, counts_of, names_in
from stream.core.metrics import closed_name
from stream.core.samples import Labels, Sample, mean
from stream.core.segments import UNKNOWN
from stream.core.tally import Field

# The fields of tallies are texts, because anything may be a network: one of these letters, and the network. They are
# stored, so a new letter is one that was never used.
_LETTERS = dict(zip(Kind, "lcsvmf", strict=True))
_SENTIMENTS = {"positive": "+", "neutral": "0", "negative": "-", UNKNOWN: "?"}
FOLLOWERS, REACH = "a", "r"  # in the ledger
_BASES = {"followers": FOLLOWERS, "reach": REACH}
ALL_LETTERS = "".join((*_LETTERS.values(), *_SENTIMENTS.values(), FOLLOWERS, REACH))

# Among the windows: the audiences.
NOW = 0

# What the engagement ratio counts.
_ENGAGING = (Kind.LIKE, Kind.COMMENT, Kind.SHARE, Kind.SAVE)

_Tally = Mapping[Field, int]
_NOTHING: Mapping[Field, int] = {}


def amounts_of(version: Interaction) -> Mapping[Field, int]:
    """What an interaction adds."""
    return _NOTHING if version.is_undone else _amounts(version.kind, version.network, version.sentiment)


@lru_cache(maxsize=4_096)
def _amounts(kind: str, network: str, sentiment: str) -> Mapping[Field, int]:
    amounts: dict[Field, int] = {f"{_LETTERS[Kind(kind)]}{network}": 1}
    if kind == Kind.MENTION.value:
        amounts[f"{_SENTIMENTS[sentiment or UNKNOWN]}{network}"] = 1
    return amounts


def live(of_windows: Mapping[str, _Tally], longest: _Tally, audience: _Tally) -> Iterator[Sample]:
    """The numbers of windows, of which one is the longest, and of the audiences. There are none while all is empty."""
    people = {base: counts_of(letter, audience) for base, letter in _BASES.items()}
    ranked = dict.fromkeys((network for counts in people.values() for network in counts), 0)
    for letter in _LETTERS.values():
        for network, count in counts_of(letter, longest).items():
            ranked[network] = ranked.get(network, 0) + count
    if not ranked:
        return
    # Each message names its network, so none is unknown.
    names = names_in(ranked, whole=sum(ranked.values()))
    told = {base: _by_network(counts, names) for base, counts in people.items()}
    for base, counts in told.items():
        for network, count in counts.items():
            yield Sample(AUDIENCE, {"network": network, "base": base}, count)
    for window, tally in of_windows.items():
        by_kind = {kind: _by_network(counts_of(letter, tally), names) for kind, letter in _LETTERS.items()}
        by_sentiment = {name: _by_network(counts_of(letter, tally), names) for name, letter in _SENTIMENTS.items()}
        for network in names:
            labels = {"window": window, "network": network}
            yield from _of_network(labels, by_kind, by_sentiment, told)


def _of_network(
    labels: Labels,
    by_kind: Mapping[Kind, Mapping[str, int]],
    by_sentiment: Mapping[str, Mapping[str, int]],
    people: Mapping[str, Mapping[str, int]],
) -> Iterator[Sample]:
    network = labels["network"]
    for kind, counts in by_kind.items():
        yield Sample(INTERACTIONS, {**labels, "type": kind.value}, counts[network])
    for sentiment, counts in by_sentiment.items():
        yield Sample(MENTIONS, {**labels, "sentiment": sentiment}, counts[network])
    engaging = sum(by_kind[kind][network] for kind in _ENGAGING)
    for base, counts in people.items():
        yield from mean(ENGAGEMENT, {**labels, "base": base}, engaging, counts[network])


def closed(of_windows: Mapping[str, _Tally], longest: _Tally, audience: _Tally) -> Iterator[Sample]:
    """The same of a closed day."""
    for name, labels, value in live(of_windows, longest, audience):
        yield Sample(closed_name(name), labels, value)


def _by_network(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """What is counted of each network with a name, and of all others."""
    return by_name(counts, names, whole=sum(counts.values()))
