"""Stop a worker whose `kafka.instance_id` was taken by another process.

If two processes have the same instance id, Kafka gives the place in the group to the newer one, and the older one must
stop. Kafka says so (FENCED_INSTANCE_ID) to a member that sends its instance id. aiokafka sends it only when it joins.
Kafka answers its heartbeats as those of an unknown member, so aiokafka joins again, which takes the place back, and the
two processes would take it from each other for ever. Therefore a member that Kafka does not know any more first sends
one heartbeat with its instance id. If Kafka answers that the id was taken, the worker stops. Otherwise the worker was
silent for too long, and it joins again.
"""

from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Int16, Int32, Schema, String

_FENCED_INSTANCE_ID = 82  # Kafka's error code; aiokafka has no class for it


class _HeartbeatResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatByName(RequestStruct):  # type: ignore[misc]
    """A heartbeat with the instance id: version 3 of the request, as of Kafka 2.3."""

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
    """Make an aiokafka group coordinator call `replaced`, instead of joining again, when its instance id was taken."""
    reset_generation, ensure_active_group = coordinator.reset_generation, coordinator.ensure_active_group
    lost: list[tuple[int, str]] = []  # generation and member id of the membership that Kafka does not know any more

    def remember_and_reset() -> None:
        if coordinator.generation > 0:
            lost[:] = [(coordinator.generation, coordinator.member_id)]
        reset_generation()

    async def join_unless_replaced(*arguments: Any) -> Any:
        if lost and await _instance_id_is_taken(coordinator, *lost[0]):
            replaced()
            await coordinator._closing
            return None
        lost.clear()
        return await ensure_active_group(*arguments)

    coordinator.reset_generation = remember_and_reset
    coordinator.ensure_active_group = join_unless_replaced


async def _instance_id_is_taken(coordinator: Any, generation: int, member_id: str) -> bool:
    request = _Heartbeat(coordinator.group_id, generation, member_id, coordinator._group_instance_id)
    try:
        answer = await coordinator._send_req(request)
    except KafkaError:
        return False  # if it was taken, the next heartbeat will show it
    return bool(answer.error_code == _FENCED_INSTANCE_ID)
