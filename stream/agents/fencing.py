"""Two processes with one `kafka.instance_id`: Kafka gives its place to the newer one, and the older one must stop.

Kafka tells a member that its name was taken (FENCED_INSTANCE_ID) if the member gives the name when it asks. aiokafka
gives it only when it joins: its heartbeats are then answered as those of anybody unknown, and it joins again, which
takes the name back, and so on in turns. So a member that Kafka does not know any more asks once by its name, before it
joins again. The answer may as well be that it was away for too long; then it may join.
"""

from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Int16, Int32, Schema, String

_FENCED_INSTANCE_ID = 82  # in Kafka's table of errors; aiokafka has no class for it


class _HeartbeatResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatByName(RequestStruct):  # type: ignore[misc]
    """The first version that has the name: of Kafka 2.3, as static membership."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Heartbeat(Request[_HeartbeatByName]):  # type: ignore[misc]
    API_KEY = 12

    def __init__(self, *values: Any) -> None:
        self._values = values

    def build(self, request_struct_class: type[_HeartbeatByName]) -> _HeartbeatByName:
        return request_struct_class(*self._values)


def stop_when_replaced(coordinator: Any, replaced: Callable[[], None]) -> None:
    """Let a group coordinator of aiokafka not join again, but call `replaced`, when its instance id was taken."""
    reset_generation, ensure_active_group = coordinator.reset_generation, coordinator.ensure_active_group
    lost: list[tuple[int, str]] = []  # generation and id of the member that Kafka did not know any more

    def note_and_reset() -> None:
        if coordinator.generation > 0:
            lost[:] = [(coordinator.generation, coordinator.member_id)]
        reset_generation()

    async def join_unless_replaced(*arguments: Any) -> Any:
        if lost and await _is_taken(coordinator, *lost[0]):
            replaced()
            await coordinator._closing
            return None
        lost.clear()
        return await ensure_active_group(*arguments)

    coordinator.reset_generation = note_and_reset
    coordinator.ensure_active_group = join_unless_replaced


async def _is_taken(coordinator: Any, generation: int, member_id: str) -> bool:
    question = _Heartbeat(coordinator.group_id, generation, member_id, coordinator._group_instance_id)
    try:
        answer = await coordinator._send_req(question)
    except KafkaError:
        return False  # if it is, the next heartbeat asks again
    return bool(answer.error_code == _FENCED_INSTANCE_ID)
