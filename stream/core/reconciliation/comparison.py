"""Compares our numbers with another tool's, and finds out what each of its rules contributes to each difference.

The rules are applied one after the other, in the order in which the tool lists them: ours, ours with its first rule,
with its first two, and so on to the tool's own. A rule contributes what changes when it comes in. So the contributions
add up to the difference, always, and none is claimed that was not computed. Where two rules bear on the same session,
what both do together counts with the second.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from stream.core.reconciliation.actions import Person
from stream.core.reconciliation.conventions import Conventions, Number, Rule, Tool
from stream.core.reconciliation.numbers import NUMBERS, Counter, Numbers
from stream.core.reconciliation.visits import Cut, cut_of
from stream.core.rules import Rules


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one rule of a tool adds to the difference of a number."""

    rule: Rule
    amount: Fraction


@dataclass(frozen=True, slots=True)
class Compared:
    """One number of a day by both rules; None where it is undefined."""

    number: Number
    ours: Fraction | None
    theirs: Fraction | None
    contributions: tuple[Contribution, ...]

    @property
    def difference(self) -> Fraction | None:
        """Theirs minus ours."""
        return None if self.ours is None or self.theirs is None else self.theirs - self.ours


@dataclass(frozen=True, slots=True)
class ComparedDay:
    """The numbers of one closed day."""

    day: int
    numbers: tuple[Compared, ...]


def compare(people: Mapping[str, Person], tool: Tool, rules: Rules, closed_days: Iterable[int]) -> list[ComparedDay]:
    """Compare closed days. Each user is gone through once, whatever the number of days and rules."""
    days, stages = rules.days, tool.by_rule(rules)
    counters = {day: [Counter(stage, days, day) for stage in stages] for day in closed_days}
    for person in people.values():
        actions = person.actions()
        cuts: dict[tuple[Conventions, int | None], Cut] = {}  # most rules leave the sessions as they are
        for counter in (counter for of_day in counters.values() for counter in of_day):
            cut = cuts.get(counter.cutting)
            if cut is None:
                conventions, until_day = counter.cutting
                cut = cuts[counter.cutting] = cut_of(person, actions, conventions, days, until_day=until_day)
            counter.count(cut)
    return [
        ComparedDay(
            day, tuple(_compared(number, tool, [counter.numbers() for counter in of_day]) for number in NUMBERS)
        )
        for day, of_day in counters.items()
    ]


def _compared(number: Number, tool: Tool, stages: list[Numbers]) -> Compared:
    values = [stage[number] for stage in stages]
    ours, theirs = values[0], values[-1]
    if number in tool.undefined or ours is None or theirs is None:
        return Compared(number, ours, None if number in tool.undefined else theirs, ())
    # Where a rule leaves nothing to divide by, the next one that does not counts for both.
    known = [
        (None, ours),
        *((rule, value) for rule, value in zip(tool.rules, values[1:], strict=True) if value is not None),
    ]
    contributions = [Contribution(rule, after - before) for (_, before), (rule, after) in pairwise(known) if rule]
    return Compared(number, ours, theirs, tuple(one for one in contributions if one.amount))
