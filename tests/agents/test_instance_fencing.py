"""Who lost his place in the group asks by his name before he joins again: it may be another's now."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from stream.agents.instance_fencing import stop_when_replaced

FENCED, UNKNOWN = 82, 25


class Answer:
    def __init__(self, error_code: int) -> None:
        self.error_code = error_code


class Coordinator:
    """What aiokafka's does of it; `answer` is what Kafka says to a heartbeat."""

    group_id = "engagement"
    _group_instance_id = "ada"

    def __init__(self, answer: int | Exception) -> None:
        self.generation, self.member_id = 7, "ada-1"
        self.joins = 0
        self.questions: list[Any] = []
        self._answer = answer
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def reset_generation(self) -> None:
        self.generation, self.member_id = -1, ""

    async def ensure_active_group(self, subscription: object, assignment: object) -> object:
        self.joins += 1
        return assignment

    async def _send_req(self, request: Any) -> Answer:
        self.questions.append(request.prepare({12: (0, 4)}))
        if isinstance(self._answer, Exception):
            raise self._answer
        return Answer(self._answer)


async def joined(coordinator: Coordinator, told: list[str]) -> object:
    """What joining gives; closing ends what waits for it."""
    joining = asyncio.ensure_future(coordinator.ensure_active_group("subscription", "assignment"))
    await asyncio.sleep(0)
    if told:
        assert not joining.done()
        coordinator._closing.set_result(None)
    return await joining


def watched(answer: int | Exception) -> tuple[Coordinator, list[str]]:
    coordinator, told = Coordinator(answer), list[str]()
    stop_when_replaced(coordinator, lambda: told.append("replaced"))
    return coordinator, told


def test_who_was_replaced_does_not_join_again() -> None:
    async def scenario() -> None:
        coordinator, told = watched(FENCED)
        coordinator.reset_generation()

        assert await joined(coordinator, ["replaced"]) is None
        assert (coordinator.joins, told) == (0, ["replaced"])
        (question,) = coordinator.questions
        asked = question.group, question.generation_id, question.member_id, question.group_instance_id
        assert asked == ("engagement", 7, "ada-1", "ada")

    asyncio.run(scenario())


@pytest.mark.parametrize("answer", [UNKNOWN, 0, NodeNotReadyError()])
def test_who_was_away_for_too_long_joins_again(answer: int | Exception) -> None:
    async def scenario() -> None:
        coordinator, told = watched(answer)
        coordinator.reset_generation()

        assert await joined(coordinator, told) == "assignment"
        assert await joined(coordinator, told) == "assignment"  # the next time nobody has to be asked
        assert (coordinator.joins, told, len(coordinator.questions)) == (2, [], 1)

    asyncio.run(scenario())


def test_who_has_never_been_in_the_group_asks_nothing() -> None:
    async def scenario() -> None:
        coordinator, told = watched(FENCED)
        coordinator.generation = -1
        coordinator.reset_generation()

        assert await joined(coordinator, told) == "assignment"
        assert coordinator.questions == []

    asyncio.run(scenario())
