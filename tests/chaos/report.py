"""What a run of chaos says at its end: events, faults, how quickly it was well again, and differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    slowest_after: str = ""  # the last fault of that storm
    most_takeovers: int = 0  # of one worker in one pause
    settled_seconds: float = 0.0  # from the end of all faults to numbers that equal the recount
    rebuilt_seconds: float = 0.0  # a worker without anything, from its start to the same numbers
    letters: int = 0
    differences: list[str] = field(default_factory=list)
    is_whole: bool = False  # whether it came to its end

    def take_in(self, weathered: Sequence[Weathered]) -> None:
        """What the pauses have shown."""
        for over in weathered:
            verdict = over.verdict
            self.most_takeovers = max(self.most_takeovers, verdict.takeovers)
            if verdict.well_after_seconds is not None and verdict.well_after_seconds > self.slowest_recovery_seconds:
                self.slowest_recovery_seconds, self.slowest_after = verdict.well_after_seconds, over.storm[-1].kind
            if verdict.complaint:
                self.differences.append(f"{over.at_seconds:.1f} s, after {over.faults}: {verdict.complaint}")

    @property
    def command(self) -> str:
        """What runs it again."""
        told = f"--seed {self.seed} --minutes {self.minutes:g} --store {self.store} {self.options}".rstrip()
        return f'make chaos ARGS="{told}"'

    def as_text(self) -> str:
        """A table."""
        table = Table(title=f"chaos on {self.store}, seed {self.seed}", show_header=False, title_justify="left")
        table.add_column()
        table.add_column(justify="right")
        table.add_row("set up", self.setup)
        table.add_row("events", f"{self.events:,}")
        table.add_row("dead letters", f"{self.letters:,}")
        table.add_section()
        for kind, count in sorted(self.faults.items()):
            table.add_row(kind, str(count))
        table.add_row("faults", str(self.faults.total()))
        table.add_row("answers to produce requests lost", str(self.answers_lost))
        table.add_section()
        for reason, count in sorted(self.gave_up.items()):
            table.add_row(f"gave up: {reason}", str(count))
        table.add_row("partitions that changed hands", str(self.takeovers))
        table.add_row("slowest takeover", f"{self.slowest_takeover_seconds:.1f} s")
        table.add_row("slowest return to well", f"{self.slowest_recovery_seconds:.1f} s")
        table.add_row("after", self.slowest_after)
        table.add_row("most takeovers of a worker after a storm", str(self.most_takeovers))
        table.add_row("all well after the last fault", f"{self.settled_seconds:.1f} s")
        table.add_row("rebuilt from nothing", f"{self.rebuilt_seconds:.1f} s")
        table.add_section()
        none = "none" if self.is_whole else "not compared to the end"
        table.add_row("differences", str(len(self.differences)) if self.differences else none)
        console = Console(width=100, no_color=True)
        with console.capture() as captured:
            console.print(table)
        return "\n".join([captured.get().rstrip(), *self.differences, f"again: {self.command}", ""])
