"""Numbers as JSON documents, for the API and for `engagement compute`."""

from collections.abc import Mapping, Sequence
from typing import Any

from stream.core import catalogue
from stream.core.offline import Computed
from stream.core.samples import Sample
from stream.core.time import date_of, iso


def as_json(sample: Sample) -> dict[str, Any]:
    """A sample as a JSON object."""
    return {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}


def with_sample_sizes(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Samples as JSON objects. Each ratio, mean and quantile has its sample size."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    documents = []
    for sample in samples:
        metric = catalogue.BY_NAME[sample.name]
        document = as_json(sample)
        if metric.parts and sample.name == metric.name:
            wanted = {**sample.labels, **dict(metric.sample_labels)}
            counted = by_name.get(metric.parts[-1], ())
            document["sample_size"] = sum(part.value for part in counted if _agree(wanted, part.labels))
        documents.append(document)
    return documents


def _agree(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels[name] == value for name, value in wanted.items() if name in labels)


def definitions() -> list[dict[str, Any]]:
    """All metrics of the catalogue: the meaning of each, its unit, labels, parts and interval."""
    return [
        {
            "name": metric.name,
            "definition": metric.help,
            "type": metric.type,
            "unit": metric.unit,
            "labels": list(metric.labels),
            "parts": list(metric.parts),
            "interval": {"lower": metric.names[1], "upper": metric.names[2], "method": metric.interval}
            if metric.interval
            else None,
        }
        for metric in catalogue.CATALOGUE
    ]


def as_document(computed: Computed) -> dict[str, Any]:
    """The document that `engagement compute --format json` prints. Undefined values are absent."""
    return {
        "at": iso(computed.at_ms) if computed.at_ms >= 0 else None,
        "live": [as_json(sample) for sample in computed.live],
        "closed": [
            {"day": date_of(day).isoformat(), "samples": [as_json(sample) for sample in samples]}
            for day, samples in computed.closed
        ],
        "events": computed.events,
    }
