"""Logins and failed logins. Each is counted once, in its minute."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stream.core.events import Event, Login
from stream.core.families.family import EventHandler, Family, Horizon, one_by_one
from stream.core.messages import LabelledMessage, MessageKind, identity_of, segments_of
from stream.core.metrics import WINDOW, Metric, closed_twins
from stream.core.repeats import PackedTimes
from stream.core.rules import Rules
from stream.core.samples import Labels, Sample
from stream.core.time import MINUTE_MS, iso
from stream.core.windows import SESSIONS

# Fields of tallies. They are stored, so a new one gets a new number, and none is used again.
LOGINS = 3
LOGIN_FAILURES = 4

_LOGIN = {LOGINS: 1}
_FAILURE = {LOGIN_FAILURES: 1}

_LIVE = (
    Metric("engagement_logins", "Successful logins.", WINDOW, unit="logins"),
    Metric("engagement_login_failures", "Failed logins.", WINDOW, unit="logins"),
)
METRICS = (*_LIVE, *closed_twins(_LIVE))


class LoginMessage(LabelledMessage, gc=False):
    """A message of the kind `logins`."""

    success: bool | None = True


def event_of(message: LoginMessage, user: str, at_ms: int, is_bot: bool, key: bytes | None) -> Login:
    """The login of a message."""
    success = message.success is not False
    return Login(user, at_ms, is_bot, identity_of(at_ms, message.event_id, success), success, segments_of(message))


class UserLogins(msgspec.Struct, gc=False):
    """The logins of one user that are new enough to be sent again."""

    times: dict[int, int] = {}  # by identity: the time in milliseconds, negative for a failed login


_decode = msgspec.msgpack.Decoder(dict[int, int]).decode


class LoginsFamily(Family[UserLogins]):
    """Logins in windows of event time."""

    name = "logins"
    number = 3
    windows = SESSIONS
    metrics = METRICS
    message_kinds = (
        MessageKind(
            "logins",
            LoginMessage,
            event_of,
            fields={"success": "false for a failed login, which makes nobody active"},
            examples=({"user_id": "ada", "event_time": 1795255200000, "success": True},),
        ),
    )

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        # By minute: how many are not booked yet.
        self._logins: dict[int, int] = {}
        self._failures: dict[int, int] = {}

    def handlers(self) -> Mapping[type[Event], EventHandler]:
        return {Login: one_by_one(self.apply_login)}

    def apply_login(self, part: UserLogins, login: Login, now: int) -> bool:
        """Count a login unless it is known already."""
        if login.identity in part.times:
            return False
        part.times[login.identity] = login.at_ms if login.success else -login.at_ms
        minute, counted = login.at_ms // MINUTE_MS, self._logins if login.success else self._failures
        counted[minute] = counted.get(minute, 0) + 1
        return True

    def new(self) -> UserLogins:
        return UserLogins(PackedTimes()) if self.rules.packs_identities else UserLogins()

    def decode(self, stored: msgspec.Raw) -> UserLogins:
        return UserLogins(_decode(stored))

    def stored(self, part: UserLogins) -> object:
        return part.times or None

    def prune(self, part: UserLogins, horizon: Horizon) -> None:
        gone = [identity for identity, at_ms in part.times.items() if abs(at_ms) < horizon.before_ms]
        if gone and self.rules.erases:
            for at_ms in (part.times[identity] for identity in gone):
                self.remember(abs(at_ms) // MINUTE_MS, _LOGIN if at_ms >= 0 else _FAILURE)
        for identity in gone:
            del part.times[identity]

    def readable(self, part: UserLogins) -> Any:
        return [{"at": iso(abs(at_ms)), "success": at_ms >= 0} for at_ms in part.times.values()]

    def take_out(self, part: UserLogins) -> None:
        for at_ms in part.times.values():
            self.count(abs(at_ms) // MINUTE_MS, _LOGIN if at_ms >= 0 else _FAILURE, -1)

    def last_ms(self, part: UserLogins) -> int:
        return max(map(abs, part.times.values()), default=0)

    def update_totals(self, now: int) -> None:
        for amounts, counted in ((_LOGIN, self._logins), (_FAILURE, self._failures)):
            for minute, times in counted.items():
                self.count(minute, amounts, times)
            counted.clear()
        super().update_totals(now)

    def of_window(self, labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
        yield Sample("engagement_logins", labels, tally.get(LOGINS, 0))
        yield Sample("engagement_login_failures", labels, tally.get(LOGIN_FAILURES, 0))
