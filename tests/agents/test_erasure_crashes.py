"""Whoever was erased stays erased, whatever dies, freezes or loses its disk at any step.

Between requests and events of one user the order in which they are read matters. So here all records of all topics are
read in the order in which they were produced, also when they are read again.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from stream.core.families.logins import LoginsFamily, UserLogins
from stream.core.partition.partition import Partition
from stream.core.partition.rows import Rows
from stream.core.privacy import Erased
from stream.core.snapshot import Snapshot
from tests.agents.test_exactly_once import KINDS, machine
from tests.agents.world import NOW_MS, SETTINGS, USERS, Process, World, _numbers
from tests.core.live import Store, deliver
from tests.export.boards import Event

pytestmark = pytest.mark.slow


class InOrder(World):
    """A world whose topics are read in the order in which their records were produced."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.inputs["privacy"] = []
        self.order: list[tuple[str, int]] = []  # topic and offset

    def produce(self, topic: str, user: str, minutes_ago: int) -> None:
        self.order.append((topic, len(self.inputs[topic])))
        if topic != "privacy":
            super().produce(topic, user, minutes_ago)
            return
        told = {"user_id": user, "event_time": NOW_MS - minutes_ago * 60_000, "type": "erase"}
        records = self.inputs[topic]
        records.append(Event(msgspec.json.encode(told), len(records), key=user.encode(), timestamp=NOW_MS))

    def deliver(self, topic: str, count: int, *, again: int) -> None:
        task = self.owning.task
        assert task is not None
        unread = [(topic, offset) for topic, offset in self.order if offset >= self.next_of(task, topic)]
        for its_topic, offset in unread[: count if topic != "all" else None]:
            records: Any = [self.inputs[its_topic][offset]]
            self.run(task.apply(its_topic, records, now_ms=NOW_MS, clock_ms=NOW_MS))

    def recount(self) -> Snapshot:
        partition, store = Partition(SETTINGS.rules), Store()
        for topic, offset in self.order:
            deliver(partition, topic, [self.inputs[topic][offset]], store, not_after_ms=NOW_MS)
            partition.tick(NOW_MS, behind=())
        return _numbers(partition.snapshot())

    def outcome(self, process: Process) -> Snapshot:
        self.owner = None
        self.take_over(process)
        self.deliver("all", 0, again=0)
        return super().outcome(process)


def erasing(kind: str) -> type[RuleBasedStateMachine]:
    """The machine of `test_exactly_once`, in which people ask to be erased too."""
    base: Any = machine(kind)

    class Machine(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.world.close()
            self.world: InOrder = InOrder(kind)

        @rule(user=st.sampled_from(USERS), minutes_ago=st.integers(0, 90))
        def ask_to_be_erased(self, user: str, minutes_ago: int) -> None:
            self.world.produce("privacy", user, minutes_ago)

    return Machine


def run(kind: str, **options: Any) -> None:
    run_state_machine_as_test(
        erasing(kind),
        settings=settings(
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
            **options,
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_who_was_erased_stays_erased_whatever_happens(kind: str) -> None:
    run(kind, max_examples=60)


# -- planted bugs ------------------------------------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def who_was_erased_is_not_part_of_the_checkpoint(patch: Patch) -> None:
    patch.setattr(Erased, "collect", lambda self: [])


def her_row_stays_in_the_store(patch: Patch) -> None:
    def erase(self: Rows, user: str) -> None:
        self.users.pop(user, None)
        self.unsaved.pop(user, None)

    patch.setattr(Rows, "erase", erase)


def she_stays_in_the_ring(patch: Patch) -> None:
    take_out = LoginsFamily.take_out

    def without_the_ring(self: LoginsFamily, part: UserLogins) -> None:
        put = self.ring.put
        self.ring.put = lambda minute, amounts: None  # type: ignore[method-assign]
        take_out(self, part)
        self._put_counted()
        self._counted.clear()
        self.ring.put = put  # type: ignore[method-assign]

    patch.setattr(LoginsFamily, "take_out", without_the_ring)
    patch.setattr(InOrder, "recount", _with(LoginsFamily, "take_out", take_out, InOrder.recount))


def _with(owner: Any, name: str, original: Any, function: Any) -> Any:
    """A function that runs while what was broken is whole."""

    def whole(*arguments: Any) -> Any:
        broken = getattr(owner, name)
        setattr(owner, name, original)
        try:
            return function(*arguments)
        finally:
            setattr(owner, name, broken)

    return whole


BUGS = [who_was_erased_is_not_part_of_the_checkpoint, her_row_stays_in_the_store, she_stays_in_the_ring]


@pytest.mark.parametrize("plant", BUGS, ids=[plant.__name__ for plant in BUGS])
def test_a_planted_bug_is_found(plant: Any, monkeypatch: Patch) -> None:
    plant(monkeypatch)

    with pytest.raises(Exception) as found:  # noqa: PT011  a wrong number, or a check of the code that was broken
        run(
            "redis",
            max_examples=1_000,  # it ends with the first that is found
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
        )

    assert not isinstance(found.value, Flaky), "nothing was found, or not for what was planted"
