"""/metrics: all numbers from the newest reports, most of them as gauges, with the help texts of the catalogue."""

from collections.abc import Collection, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream.core import catalogue, metrics
from stream.core.samples import Sample
from stream.core.time import SECOND_MS
from stream.export.board import Board
from stream.telemetry import Timings


class BoardCollector(Collector):
    """Collects all numbers from the board at each scrape. A label that the board does not have any more is absent."""

    def __init__(self, board: Board, *, version: str) -> None:
        self._board = board
        self._version = version

    def collect(self) -> Iterator[Metric]:
        samples = [*self._board.live(), *self._closed(), *self._board.health()]
        samples.append(Sample("engagement_build_info", {"version": self._version}, 1))
        by_name: dict[str, list[Sample]] = {}
        for sample in samples:
            by_name.setdefault(sample.name, []).append(sample)
        histograms = {name: _histogram(name, bounds, timings) for name, bounds, timings in self._board.timings()}
        for metric in catalogue.CATALOGUE:
            if metric.name in histograms:
                yield histograms[metric.name]
            for index, name in enumerate(metric.names):
                if name in by_name:
                    yield _family(metric, name, index, by_name[name])

    def _closed(self) -> Iterable[Sample]:
        for day, samples in self._board.closed():
            started = self._board.rules.days.starts_ms(day)
            yield Sample("engagement_closed_day_timestamp_seconds", {}, started / SECOND_MS)
            yield from samples


def _family(metric: metrics.Metric, name: str, index: int, samples: list[Sample]) -> Metric:
    help_text = (
        metric.help if index == 0 else f"{('Lower', 'Upper')[index - 1]} end of the 95 % interval of {metric.name}."
    )
    if metric.type == "summary":  # only its quantiles, because its sum and count are metrics of their own
        summary = Metric(name, help_text, "summary")
        for sample in samples:
            summary.add_sample(name, dict(sample.labels), sample.value)
        return summary
    kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(name, help_text, labels=metric.labels)
    for sample in samples:
        family.add_metric([sample.labels[label] for label in metric.labels], sample.value)
    return family


def _histogram(name: str, bounds: tuple[float, ...], timings: Timings) -> Metric:
    counts = timings.counts or (0,) * (len(bounds) + 1)
    buckets = [
        (f"{bound:g}" if bound != float("inf") else "+Inf", count)
        for bound, count in zip((*bounds, float("inf")), accumulate(counts), strict=True)
    ]
    return HistogramMetricFamily(name, catalogue.BY_NAME[name].help, buckets=buckets, sum_value=timings.seconds)


def exposition(board: Board, *, version: str, names: Collection[str] | None = None) -> bytes:
    """The page that Prometheus scrapes, in its text format. `names` selects some metrics or samples."""
    registry = CollectorRegistry(auto_describe=False)
    collector = BoardCollector(board, version=version)
    registry.register(collector if names is None else _Some(collector, names))
    return generate_latest(registry)


class _Some(Collector):
    """Selects the metrics and samples with these names from another collector."""

    def __init__(self, collector: Collector, names: Collection[str]) -> None:
        self._collector = collector
        self._names = frozenset(names)

    def collect(self) -> Iterator[Metric]:
        for metric in self._collector.collect():
            if metric.name not in self._names:
                metric.samples = [sample for sample in metric.samples if sample.name in self._names]
            if metric.samples:
                yield metric
