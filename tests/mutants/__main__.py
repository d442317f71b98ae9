"""`make mutants`: a sample of the mutants of `stream/core`, or all of them, and which of them no test kills."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Final

from tests.mutants.changes import Mutant, change_of, changed, mutants_of
from tests.mutants.equivalents import Change, equivalents
from tests.mutants.running import TESTS, Baseline, BaselineBroken, Outcome, baseline, copy, outcome_of

REPOSITORY: Final = Path(__file__).parent.parent.parent

# A mutant that fills memory dies of it before the machine does.
_MEMORY_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class Tried:
    """A mutant, its change, and what became of it."""

    mutant: Mutant
    change: Change
    outcome: Outcome
    printed: str  # by the tests


class Trying:
    """Tries mutants, several at once, each in a copy of the repository that no other uses meanwhile."""

    def __init__(self, of: Path, known: Baseline, *, jobs: int) -> None:
        self._known = known
        self._copies: SimpleQueue[Path] = SimpleQueue()
        self._jobs = jobs
        for number in range(jobs):
            to = of.parent / f"copy-{number}"
            shutil.copytree(of, to)
            self._copies.put(to)

    def results(self, mutants: Iterable[tuple[Mutant, Change]]) -> Iterator[Tried]:
        """What becomes of mutants, in their order."""
        with ThreadPoolExecutor(self._jobs) as pool:
            yield from pool.map(lambda one: self._tried(*one), mutants)

    def _tried(self, mutant: Mutant, change: Change) -> Tried:
        root = self._copies.get()
        path = root / mutant.module
        source = path.read_text()
        code = changed(source, mutant)
        assert code is not None
        try:
            path.write_text(code)
            tests = self._known.tests_of(mutant)
            outcome, printed = outcome_of(root, tests, endless_seconds=self._known.endless_seconds)
        finally:
            path.write_text(source)
            self._copies.put(root)
        return Tried(mutant, change, outcome, printed)


def chosen(root: Path, mutants: Sequence[Mutant], *, sample: int | None, seed: int) -> Iterator[tuple[Mutant, Change]]:
    """So many mutants by chance with their changes, the same for the same seed and code; all of them for None.

    Left out are those that are no Python any more and those that make no difference.
    """
    reasons = equivalents()
    in_order = mutants if sample is None else Random(seed).sample(mutants, len(mutants))
    found = ((mutant, change_of((root / mutant.module).read_text(), mutant)) for mutant in in_order)
    return islice(((mutant, change) for mutant, change in found if change and change not in reasons), sample)


def _all_mutants(root: Path, under: str) -> list[Mutant]:
    modules = sorted(str(path.relative_to(root)) for path in (root / "stream" / "core").rglob("*.py"))
    return [mutant for mutant in mutants_of(root, modules) if mutant.place.startswith(under)]


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--all", action="store_true", help="try all mutants, which takes a night, and no sample")
    parser.add_argument("--sample", type=int, default=40, metavar="N", help="how many mutants to try (40)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which sample: the same seed draws the same")
    parser.add_argument(
        "--under", default="stream/core", metavar="PATH", help="only what begins so: a folder, file:line"
    )
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH", help="only these tests, for a quick look")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many at once (all cores)")
    parser.add_argument("--verbose", action="store_true", help="print for each mutant what the tests said last")
    return parser.parse_args()


def main() -> int:
    """Try mutants; returns the exit status: 0 when none survived, 1 when some did, 2 when the tests fail anyway."""
    arguments = _arguments()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder, "baseline")
        copy(REPOSITORY, root)
        mutants = _all_mutants(root, arguments.under)
        trying = list(chosen(root, mutants, sample=None if arguments.all else arguments.sample, seed=arguments.seed))
        _say(f"{len(mutants)} mutants of {arguments.under}: {len(trying)} are tried, {arguments.jobs} at once")
        try:
            known = baseline(root, arguments.tests, jobs=arguments.jobs)
        except BaselineBroken as error:
            _say(f"{error}\nthe tests fail on the code as it is: no mutant was tried")
            return 2
        _say(f"the tests pass on the code as it is, {len(known.seconds)} in {sum(known.seconds.values()):.0f} s")
        survivors = []
        for number, tried in enumerate(Trying(root, known, jobs=arguments.jobs).results(trying), 1):
            _say(f"{number:5}  {tried.outcome.value:8}  {tried.mutant.place}  {tried.mutant.operator}")
            if arguments.verbose:
                _say(tried.printed)
            if tried.outcome is not Outcome.KILLED:
                survivors.append(tried)
                _say(_told(tried))
    _say()
    killed = len(trying) - len(survivors)
    if survivors:
        _say("survivors:\n" + "\n".join(f"{tried.mutant.place}\n{_told(tried)}" for tried in survivors))
    _say(f"killed {killed} of {len(trying)} mutants{f', {killed / len(trying):.1%}' if trying else ''}")
    return int(bool(survivors))


def _told(tried: Tried) -> str:
    lines = [f"    - {line}" for line in tried.change.before.splitlines()]
    return "\n".join([*lines, *(f"    + {line}" for line in tried.change.after.splitlines())])


if __name__ == "__main__":
    sys.exit(main())
