"""The numbers of conversations, calculated from sums."""

from collections.abc import Iterator, Mapping

from stream.core.families.contacts import contribution as fields
from stream.core.families.contacts import metrics as names
from stream.core.histogram import QUANTILES, quantile
from stream.core.label_texts import by_name, counts_of, names_in
from stream.core.metrics import closed_name
from stream.core.samples import Labels, Sample, mean, share
from stream.core.tally import Field

# Among the windows: who waits.
NOW = 0

_Tally = Mapping[Field, int]

_DURATIONS = (
    (names.FIRST_REPLY, names.FIRST_REPLY_MEAN, names.FIRST_REPLIES,
     fields.FIRST_REPLIES, fields.FIRST_REPLY_SECONDS, fields.FIRST_REPLY_BINS),
    (names.REPLY, names.REPLY_MEAN, names.REPLIES, fields.REPLIES, fields.REPLY_SECONDS, fields.REPLY_BINS),
    (names.RESOLUTION, names.RESOLUTION_MEAN, names.RESOLUTIONS,
     fields.RESOLUTIONS, fields.RESOLUTION_SECONDS, fields.RESOLUTION_BINS),
)  # fmt: skip


def is_empty(sums: Mapping[int, _Tally]) -> bool:
    """Whether there is nothing to tell: no conversation in any window, and nobody waits."""
    return not any(sums.values())


def live(of_windows: Mapping[str, _Tally], longest: _Tally) -> Iterator[Sample]:
    """The live numbers of windows, of which one is the longest."""
    for labels, tally in _labelled(of_windows):
        yield from _of_window(labels, tally, longest)
        contacts, resolved = tally.get(fields.CONTACTS, 0), tally.get(fields.RESOLVED, 0)
        yield Sample(names.RESOLVED, labels, resolved)
        yield from share(names.RESOLVED_RATIO, labels, resolved, contacts)


def closed(of_windows: Mapping[str, _Tally], longest: _Tally) -> Iterator[Sample]:
    """The numbers of a closed day."""
    for labels, tally in _labelled(of_windows):
        for name, its_labels, value in _of_window(labels, tally, longest):
            yield Sample(closed_name(name), its_labels, value)
        matured, resolved = tally.get(fields.MATURED, 0), tally.get(fields.MATURED_RESOLVED, 0)
        yield Sample(names.MATURED, labels, matured)
        yield Sample(closed_name(names.RESOLVED), labels, resolved)
        yield from share(closed_name(names.RESOLVED_RATIO), labels, resolved, matured)


def waiting(held: _Tally) -> tuple[int, int | None]:
    """In how many conversations a customer waits, and the second since which the one does who has waited longest."""
    return held.get(fields.WAITING, 0), min(map(int, counts_of(fields.WAITS_SINCE, held)), default=None)


def longest_waiting(ledger: _Tally) -> dict[Field, int]:
    """Of a ledger how many wait, and the one who has waited longest: partitions need not tell more of each other."""
    since = counts_of(fields.WAITS_SINCE, ledger)
    return {fields.WAITING: sum(since.values()), f"{fields.WAITS_SINCE}{min(since, key=int)}": 1} if since else {}


def _labelled(of_windows: Mapping[str, _Tally]) -> Iterator[tuple[Labels, _Tally]]:
    for window, tally in of_windows.items():
        yield {"window": window}, tally


def _of_window(labels: Labels, tally: _Tally, longest: _Tally) -> Iterator[Sample]:
    channels = names_in(counts_of(fields.CHANNEL, longest), whole=longest.get(fields.CONTACTS, 0))
    counts = by_name(counts_of(fields.CHANNEL, tally), channels, whole=tally.get(fields.CONTACTS, 0))
    for channel, count in counts.items():
        yield Sample(names.CONTACTS, {**labels, "channel": channel}, count)
    of_customers = tally.get(fields.OF_CUSTOMERS, 0)
    yield Sample(names.OF_CUSTOMERS, labels, of_customers)
    yield from share(names.OF_CUSTOMERS_RATIO, labels, of_customers, tally.get(fields.CONTACTS, 0))
    for of_quantiles, of_mean, of_count, count_field, seconds_field, bins in _DURATIONS:
        found, count = fields.bins_of(tally, bins), tally.get(count_field, 0)
        for rank in QUANTILES:
            seconds = quantile(found, rank)
            if seconds is not None:
                yield Sample(of_quantiles, {**labels, "quantile": str(rank)}, seconds)
        yield from mean(of_mean, labels, tally.get(seconds_field, 0), count)
        yield Sample(of_count, labels, count)
