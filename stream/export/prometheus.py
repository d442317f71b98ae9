"""/metrics: all numbers from the newest reports, most of them as gauges, with the help texts of the catalogue.

The text is that of Prometheus's own client, made here because the page may have ten thousand series: what closed days
say changes once a day and is kept as text, and so are labels.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from itertools import accumulate

from prometheus_client.utils import floatToGoString

from stream.core import catalogue, metrics
from stream.core.samples import Labels, Sample
from stream.core.time import SECOND_MS
from stream.export.board import Board
from stream.telemetry import Timings

# More than a page has; what is kept of labels that are gone is dropped when there are so many.
_LABELS_KEPT = 50_000

_number: Callable[[float], str] = floatToGoString

# By name of the sample: its lines.
_Lines = Mapping[str, list[str]]


class MetricsPage:
    """The page that Prometheus scrapes. A label that the board does not have any more is absent."""

    def __init__(self, board: Board, *, version: str) -> None:
        self._board = board
        self._version = version
        self._labels: dict[tuple[tuple[str, str], ...], str] = {}  # as they are written
        self._closed_samples: list[Sample] = []  # those of the closed day of which `_closed_lines` are
        self._closed_lines: _Lines = {}

    def text(self, names: Collection[str] | None = None) -> bytes:
        """The page in Prometheus's text format; `names` asks for some metrics or samples alone."""
        histograms = {name: (bounds, timings) for name, bounds, timings in self._board.timings()}
        lines = {**self._closed(), **self._lines(self._fresh())}
        page: list[str] = []
        for metric in catalogue.CATALOGUE:
            if metric.name in histograms:
                lines.update(_histogram(metric.name, *histograms[metric.name]))
            for index, name in enumerate(metric.names):
                own = [line for sample in _samples_of(metric, name) for line in _chosen(lines, metric, sample, names)]
                if own:
                    page.append(_head(metric, index))
                    page += own
        return "".join(page).encode()

    def _fresh(self) -> Iterator[Sample]:
        """What may change with each report."""
        yield from self._board.live()
        yield from self._board.health()
        yield Sample("engagement_build_info", {"version": self._version}, 1)

    def _closed(self) -> _Lines:
        """What the last closed day says."""
        for day, samples in self._board.closed():
            if samples is not self._closed_samples:
                started = self._board.rules.days.starts_ms(day)
                begins = Sample("engagement_closed_day_timestamp_seconds", {}, started / SECOND_MS)
                self._closed_samples, self._closed_lines = samples, self._lines([begins, *samples])
            return self._closed_lines
        return {}

    def _lines(self, samples: Iterable[Sample]) -> dict[str, list[str]]:
        """Samples as lines, by their names."""
        lines: dict[str, list[str]] = {}
        for name, labels, value in samples:
            line = f"{name}{self._written(labels)} {_number(value)}\n"
            if name in lines:
                lines[name].append(line)
            else:
                lines[name] = [line]
        return lines

    def _written(self, labels: Labels) -> str:
        key = tuple(labels.items())
        text = self._labels.get(key)
        if text is None:
            if len(self._labels) >= _LABELS_KEPT:
                self._labels.clear()
            text = self._labels[key] = _with_labels(labels)
        return text


def _with_labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items())) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@cache
def _head(metric: metrics.Metric, index: int) -> str:
    """What is said of a metric, or of one end of its interval."""
    name = metric.names[index]
    help_text = (
        metric.help if index == 0 else f"{('Lower', 'Upper')[index - 1]} end of the 95 % interval of {metric.name}."
    )
    return f"# HELP {name} {help_text}\n# TYPE {name} {metric.type}\n"


def _samples_of(metric: metrics.Metric, name: str) -> tuple[str, ...]:
    """The names of a metric's samples."""
    return (f"{name}_bucket", f"{name}_count", f"{name}_sum") if metric.type == "histogram" else (name,)


def _chosen(lines: _Lines, metric: metrics.Metric, sample: str, names: Collection[str] | None) -> list[str]:
    """The lines of a sample, if it or its metric was asked for; counters are known without `_total` too."""
    if names is None or sample in names or (metric.type == "histogram" and metric.name in names):
        return lines.get(sample, [])
    return lines.get(sample, []) if metric.type == "counter" and metric.name.removesuffix("_total") in names else []


def _histogram(name: str, bounds: tuple[float, ...], timings: Timings) -> _Lines:
    counts = timings.counts or (0,) * (len(bounds) + 1)
    texts = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    running = list(accumulate(counts))
    buckets = [f'{name}_bucket{{le="{text}"}} {_number(count)}\n' for text, count in zip(texts, running, strict=True)]
    return {
        f"{name}_bucket": buckets,
        f"{name}_count": [f"{name}_count {_number(running[-1])}\n"],
        f"{name}_sum": [f"{name}_sum {_number(timings.seconds)}\n"],
    }


def exposition(board: Board, *, version: str) -> bytes:
    """The page that Prometheus scrapes, of a board that is asked once."""
    return MetricsPage(board, version=version).text()
