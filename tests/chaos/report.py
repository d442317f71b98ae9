"""What a run of chaos says at its end: events, faults, how quickly it was well again, and differences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from rich.console import Console
from rich.table import Table

from tests.chaos.storm import Weathered


@dataclass(slots=True, kw_only=True)
class Report:
    """One run on one store."""

    store: str
    seed: int
    minutes: float
    setup: str = ""
    options: str = ""  # what else was asked for
    events: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    answers_lost: int = 0
    gave_up: Counter[str] = field(default_factory=Counter)  # by reason: workers that ended by themselves
    takeovers: int = 0  # partitions that changed hands
    slowest_takeover_seconds: float = 0.0  # of those: from the assignment to the open state
    slowest_recovery_seconds: float = 0.0  # from the end of a storm until all was well
    slowest_after: str = ""  # the faults of that storm
    storms: int = 0
    most_takeovers: int = 0  # by one worker in one pause
    rebalances: int = 0  # of the group, as the broker counts them
    other_version: str = ""  # that a worker ran for a while, or why none did
    wrong_clocks: str = ""  # how often a worker said that its clock is wrong, or why none had a wrong one
    settled_seconds: float = 0.0  # from the end of all faults to numbers that equal the recount
    rebuilt_seconds: float = 0.0  # a worker without anything, from its start to the same numbers
    letters: int = 0
    lost: list[str] = field(default_factory=list)  # transactions that Kafka itself has lost: nobody can count them
    differences: list[str] = field(default_factory=list)
    is_whole: bool = False  # whether it came to its end

    def take_in(self, weathered: Sequence[Weathered]) -> None:
        """What the pauses have shown."""
        self.storms = len(weathered)
        for over in weathered:
            self.faults.update(fault.kind for fault in over.storm)
            verdict = over.verdict
            self.most_takeovers = max(self.most_takeovers, verdict.takeovers)
            if verdict.well_after_seconds is not None and verdict.well_after_seconds > self.slowest_recovery_seconds:
                self.slowest_recovery_seconds = verdict.well_after_seconds
                self.slowest_after = ", ".join(fault.kind for fault in over.storm)
            if verdict.complaint:
                when = f"{over.at_seconds:.1f} s after the beginning, seed {self.seed} on {self.store}"
                self.differences.append(f"{when}, after {over.faults}: {verdict.complaint}")

    @property
    def command(self) -> str:
        """What runs it again."""
        told = f"--seed {self.seed} --minutes {self.minutes:g} --store {self.store} {self.options}".rstrip()
        return f'make chaos ARGS="{told}"'

    def as_line(self) -> str:
        """All of it as a line of JSON, to be collected over runs."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps({**told, "command": self.command})

    def as_text(self) -> str:
        """A table, the differences, and what runs it again."""
        table = Table(title=f"chaos on {self.store}, seed {self.seed}", show_header=False, title_justify="left")
        table.add_column()
        table.add_column(justify="right")
        none = "none" if self.is_whole else "not compared to the end"
        for rows in (
            {"set up": self.setup, "events": f"{self.events:,}", "dead letters": f"{self.letters:,}"},
            {**self._counted_faults(), "answers to produce requests lost": str(self.answers_lost)},
            {"committed transactions that Kafka lost": str(len(self.lost))} if self.lost else {},
            {f"gave up: {reason}": str(count) for reason, count in sorted(self.gave_up.items())},
            self._recovery(),
            {"differences": str(len(self.differences)) if self.differences else none},
        ):
            for name, told in rows.items():
                table.add_row(name, told)
            table.add_section()
        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            console.print(table)
        lost = [f"lost by Kafka: {told}" for told in self.lost]
        return "\n".join([captured.get().rstrip(), *lost, *self.differences, f"again: {self.command}", ""])

    def _counted_faults(self) -> dict[str, str]:
        """How often what has gone wrong."""
        kinds = {kind: str(count) for kind, count in sorted(self.faults.items())}
        return {
            **kinds,
            "faults": f"{self.faults.total()} in {self.storms} storms",
            "another version": self.other_version,
            "clocks noticed to be wrong": self.wrong_clocks,
        }

    def _recovery(self) -> dict[str, str]:
        """How quickly it was well again, and what that took."""
        return {
            "rebalances of the group": str(self.rebalances),
            "most takeovers of a worker after a storm": str(self.most_takeovers),
            "partitions that changed hands": str(self.takeovers),
            "slowest takeover": f"{self.slowest_takeover_seconds:.1f} s",
            "slowest return to well": f"{self.slowest_recovery_seconds:.1f} s",
            "it was after": self.slowest_after,
            "every number right after the last pause": f"{self.settled_seconds:.1f} s",
            "rebuilt from nothing": f"{self.rebuilt_seconds:.1f} s",
        }
