"""Numbers as JSON documents, for the API and for `engagement compute`."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from stream.core import catalogue
from stream.core.offline import Computed
from stream.core.samples import Labels, Sample
from stream.core.time import date_of, iso


def as_json(sample: Sample) -> dict[str, Any]:
    """A sample as a JSON object."""
    return {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}


def with_sample_sizes(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Samples as JSON objects. Each ratio, mean and quantile has its sample size."""
    documents, sizes = [], _Sizes(samples)
    for sample in samples:
        metric = catalogue.BY_NAME[sample.name]
        document = as_json(sample)
        if metric.parts and sample.name == metric.name:
            wanted = {**sample.labels, **dict(metric.sample_labels)}
            document["sample_size"] = sizes.of(metric.parts[-1], wanted)
        documents.append(document)
    return documents


def encoded(samples: Sequence[Sample]) -> msgspec.Raw:
    """The same as JSON text."""
    return msgspec.Raw(msgspec.json.encode(with_sample_sizes(samples)))


class EncodedSamples:
    """Lists of samples as JSON text, each encoded once for as long as it is the same list.

    Whoever asks more often than the numbers change costs next to nothing. At most `kept` lists are kept.
    """

    def __init__(self, *, kept: int) -> None:
        self._kept = kept
        self._known: dict[object, tuple[Sequence[Sample], msgspec.Raw]] = {}

    def of(self, name: object, samples: Sequence[Sample]) -> msgspec.Raw:
        """The JSON text of a list of samples, of which `name` says what it is. Nobody changes the list afterwards."""
        known = self._known.get(name)
        if known is None or known[0] is not samples:
            if len(self._known) >= self._kept:
                self._known.clear()
            known = self._known[name] = samples, encoded(samples)
        return known[1]


class _Sizes:
    """What counts of things add up to, by the labels that are asked for; others of theirs are summed over."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._by_name: dict[str, list[Sample]] = {}
        for sample in samples:
            self._by_name.setdefault(sample.name, []).append(sample)
        # By name and the labels that it shares with who asks, each in one order: the sums by the values of these.
        self._sums: dict[tuple[str, tuple[str, ...]], dict[tuple[str, ...], float]] = {}

    def of(self, name: str, wanted: Labels) -> float:
        """The sum of all samples of that name whose labels are those that are wanted, as far as they have them."""
        counted = self._by_name.get(name)
        if not counted:
            return 0
        shared = tuple(label for label in counted[0].labels if label in wanted)
        sums = self._sums.get((name, shared))
        if sums is None:
            sums = self._sums[name, shared] = {}
            for sample in counted:
                values = tuple(sample.labels[label] for label in shared)
                sums[values] = sums.get(values, 0) + sample.value
        return sums.get(tuple(wanted[label] for label in shared), 0)


def samples_of(samples: Sequence[Sample], metrics: Collection[str]) -> Sequence[Sample]:
    """The samples of some metrics with their intervals, and of what they were taken from; all where none is named."""
    if not metrics:
        return samples
    named = [metric for metric in catalogue.CATALOGUE if metric.name in metrics]
    names = {name for metric in named for name in (*metric.names, *metric.parts)}
    return [sample for sample in samples if sample.name in names]


def as_document(computed: Computed) -> dict[str, Any]:
    """The document that `engagement compute --as json` prints. Undefined values are absent."""
    return {
        "at": iso(computed.at_ms) if computed.at_ms >= 0 else None,
        "live": [as_json(sample) for sample in computed.live],
        "closed": [
            {"day": date_of(day).isoformat(), "samples": [as_json(sample) for sample in samples]}
            for day, samples in computed.closed
        ],
        "events": computed.events,
        "left_out": computed.left_out,
    }
