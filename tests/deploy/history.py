"""What a Prometheus would remember, had it watched a simulated population for weeks.

The same population as the one that is live, through the same core: its numbers at a moment in the past are those that
the server would have shown then. They become blocks of Prometheus by `promtool`, and the recording rules are evaluated
over them, also by `promtool`, as one does who loads the rules into a Prometheus that has been running for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from stream.core.offline import Offline
from stream.core.rules import Rules
from stream.core.samples import Sample
from stream.core.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from stream.simulate.simulator import SimulatedEvent, SimulatorSettings, simulate
from tests.deploy import promtool
from tests.deploy.monitoring import Prometheus
from tests.deploy.rules import metrics_of, rules
from tests.native import READERS

WEEK_MS = 7 * DAY_MS
# A month of MAU, and a day to spare.
_FILLS_MS = 31 * DAY_MS
# Of thousands of numbers those are remembered that are recorded: of the past no alert asks for any other.
_NUMBERS = promtool.RULES / "numbers.yml"
_ASKED = frozenset(name for rule in rules([_NUMBERS]) for name in metrics_of(rule.expr))


def moments(now_ms: int, *, lasts_ms: int) -> list[range]:
    """When Prometheus was on: an hour before this hour of the last three weeks, and until it ends; and six weeks ago.

    A minute a scrape. Alerts look nowhere else, and what lies between would cost a minute of everybody's time.
    """
    weeks = (now_ms - 6 * WEEK_MS - DAY_MS, *(now_ms - weeks * WEEK_MS for weeks in (3, 2, 1)))
    return [range(at_ms - HOUR_MS - 10 * MINUTE_MS, at_ms + lasts_ms, MINUTE_MS) for at_ms in weeks]


def scraped(population: SimulatorSettings, at: Sequence[range], *, job: str) -> Iterator[str]:
    """The samples of each time that Prometheus was on, as OpenMetrics."""
    # Full windows where alerts compare; six weeks ago they only ask if Prometheus was there.
    begins_ms, ends_ms = at[1][0] - _FILLS_MS, at[-1][-1]
    events = simulate(population, start_ms=begins_ms, end_ms=ends_ms + 1)
    offline = Offline(Rules(), READERS)
    coming = next(events)
    for times in at:
        lines: list[str] = []
        for at_ms in times:
            due: list[SimulatedEvent] = []
            while coming.arrives_at_ms <= at_ms:
                due.append(coming)
                following = next(events, None)
                if following is None:
                    break
                coming = following
            for refused in offline.apply(_lines(due)):
                raise AssertionError(f"the population sent what can't be used: {refused}")
            computed = offline.computed()
            samples = chain(computed.live, *(samples for _, samples in computed.closed))
            lines += [_line(sample, job, at_ms) for sample in samples if sample.name in _ASKED]
        yield "".join(lines) + "# EOF\n"


def remember(memory: Path, texts: Iterable[str]) -> None:
    """Put samples into the memory of a Prometheus that does not run."""
    memory.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        file = memory.parent / f"scraped-{number}.om"
        file.write_text(text)
        status, said = promtool.run("promtool", "tsdb", "create-blocks-from", "openmetrics", file, memory)
        assert status == 0, said


def record(memory: Path, at: Iterable[range]) -> None:
    """Evaluate the shipped recording rules over what is remembered, a minute a time, and remember that too."""
    empty = memory.parent / "nothing.yml"
    empty.write_text("{}\n")
    prometheus = Prometheus(empty, memory)
    prometheus.start()
    try:
        for number, times in enumerate(at):
            status, said = promtool.run(
                "promtool",
                "tsdb",
                "create-blocks-from",
                "rules",
                f"--start={(times[0] + HOUR_MS) // SECOND_MS}",
                f"--end={times[-1] // SECOND_MS}",
                "--eval-interval=60s",
                f"--url=http://{prometheus.address}",
                f"--output-dir={memory.parent / 'recorded'}",
                _NUMBERS,
            )
            assert status == 0, f"{number}: {said}"
    finally:
        prometheus.stop()
    for block in (memory.parent / "recorded").iterdir():
        block.rename(memory / block.name)


def _lines(events: Iterable[SimulatedEvent]) -> Iterator[bytes]:
    for event in events:
        yield b'{"topic":"%s",' % event.topic.encode() + event.value[1:]


def _line(sample: Sample, job: str, at_ms: int) -> str:
    labels = {**sample.labels, "job": job, "instance": "server:8600"}
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{sample.name}{{{told}}} {sample.value!r} {at_ms // SECOND_MS}\n"
