"""Requests of people about what is held of them: to be erased, or to be made anonymous.

Whoever is *erased* is taken out of every live number, and of closed days from the day of the request on; her row is
deleted. Whoever is *made anonymous* keeps counting, under a random id. In both cases what she did up to the time of the
request is not applied any more, whenever it arrives: a keyed hash of her id is kept until nothing of that time could be
applied anyway. What happens after the request begins a new person.

What was read of her before the request is taken out whole, whatever its time: a row holds sums, which can't be divided
by time.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from hashlib import blake2b

import msgspec

from stream.core.events import Event
from stream.core.messages import Message, MessageKind
from stream.core.time import DAY_MS

# A record is kept so long at least, so that everything that the state holds is looked at meanwhile.
_SHORTEST_RECORD_MS = 3 * DAY_MS

RECORDS_PREFIX = "erased/"

# The random ids of those who were made anonymous begin so.
ANONYMISED = "anonymised-"


def salt_of(app_id: str) -> bytes:
    """The key of the hashes of a deployment, so that those of two deployments can't be compared."""
    return blake2b(app_id.encode(), digest_size=32, person=b"privacy").digest()


# What is stored of somebody who was erased: up to when.
encode_record: Callable[[int], bytes] = msgspec.msgpack.Encoder().encode
time_of_record: Callable[[bytes], int] = msgspec.msgpack.Decoder(int).decode


class Request(str, Enum):
    """What may be asked for."""

    ERASE = "erase"
    ANONYMISE = "anonymise"


REQUESTS = tuple(request.value for request in Request)


class PrivacyMessage(Message, gc=False, kw_only=True):
    """A message of the kind `privacy`."""

    type: Request


class PrivacyRequested(Event, frozen=True, gc=False):
    """Somebody is to be erased or to be made anonymous, as of this time.

    It may come later than other events: as long as it is known who was erased. Then it may have been fulfilled already,
    and must not erase whoever came back since.
    """

    request: Request
    is_told: bool = False  # to a partition that is not hers, and may only know whom a reference means


def event_of(message: PrivacyMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> PrivacyRequested:
    """The request of a message. It holds for a bot too."""
    return PrivacyRequested(user, at_ms, False, message.type)


PRIVACY = MessageKind(
    "privacy",
    PrivacyMessage,
    event_of,
    type_field="type",
    fields={
        "type": "erase: the user is taken out of all numbers and rows; anonymise: the user counts on under a random id",
    },
    examples=({"user_id": "eve", "event_time": "2026-11-21T10:00:00Z", "type": "erase"},),
)


class Done(msgspec.Struct, frozen=True, gc=False):
    """That a request was fulfilled, without the id of the person."""

    request: Request
    at_ms: int  # of the request
    was_known: bool  # whether anything was held
    parts: int  # how many parts of a row, one of each family, were taken out or moved to another id
    bytes: int  # of the row


class AuditRecord(msgspec.Struct, frozen=True, gc=False, rename={"kind": "type"}):
    """A message of the topic `<app_id>-privacy-audit`: that a request was fulfilled. It does not say whose.

    After a crash a worker may write the same record twice.
    """

    kind: Request
    requested_at: str  # the time of the request, ISO 8601
    done_at: str
    partition: int
    was_known: bool
    parts: int
    bytes: int


class Erased:
    """Who was erased or made anonymous, as keyed hashes, and until when: what she did up to then is not applied."""

    def __init__(self, *, salt: bytes, allowed_lateness_ms: int | None) -> None:
        self.salt = salt
        # So long it is known who was erased, beyond the time at which something may be applied; None: for ever.
        self.known_ms = None if allowed_lateness_ms is None else max(allowed_lateness_ms, _SHORTEST_RECORD_MS)
        self._until: dict[str, int] = {}  # by hash
        self._unsaved: dict[str, int | None] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def __len__(self) -> int:
        return len(self._until)

    def hash_of(self, user: str) -> str:
        """The hash of an id, with the key of this state."""
        return blake2b(user.encode(), key=self.salt, digest_size=16).hexdigest()

    def until_ms(self, user: str) -> int:
        """Up to when what somebody did is not applied; -1 where all is."""
        return self._until.get(self.hash_of(user), -1)

    def put(self, users: Iterable[str], at_ms: int) -> None:
        """Remember that a person was erased, who has these ids."""
        for user in users:
            name = self.hash_of(user)
            self._until[name] = self._unsaved[name] = max(at_ms, self._until.get(name, -1))

    def forget(self, late_before_ms: int) -> None:
        """Forget those of whose time nothing can be applied any more."""
        if self.known_ms is None:
            return
        for name in [name for name, at_ms in self._until.items() if at_ms < late_before_ms - self.known_ms]:
            del self._until[name]
            self._unsaved[name] = None

    def collect(self) -> list[tuple[bytes, bytes | None]]:
        """What is to be stored since the last call."""
        delta = [
            (f"{RECORDS_PREFIX}{name}".encode(), None if at_ms is None else encode_record(at_ms))
            for name, at_ms in self._unsaved.items()
        ]
        self._unsaved = {}
        return delta

    def restore(self, stored: Iterable[tuple[bytes, bytes]]) -> None:
        """Load what was stored."""
        self._until = {key.decode().removeprefix(RECORDS_PREFIX): time_of_record(value) for key, value in stored}
