"""Logins and failed logins, each counted once."""

from collections.abc import Iterator, Mapping

from stream.core.events import Login
from stream.core.fields import LOGIN_FAILURES, LOGINS
from stream.core.ring import Booking
from stream.core.time import MINUTE_MS

# Identity of a login -> its time, negative for a failed one.
Logins = dict[int, int]

_LOGIN = {LOGINS: 1}
_FAILURE = {LOGIN_FAILURES: 1}


def with_login(logins: Logins, login: Login) -> Logins:
    """The logins after one more, or the very same when it is known already."""
    if login.identity in logins:
        return logins
    return {**logins, login.identity: login.at_ms if login.success else -login.at_ms}


def settled(logins: Logins, *, before_ms: int) -> Logins:
    """Forget logins so old that the same one sent again would be late."""
    if all(abs(at_ms) >= before_ms for at_ms in logins.values()):
        return logins
    return {identity: at_ms for identity, at_ms in logins.items() if abs(at_ms) >= before_ms}


def bookings(logins: Mapping[int, int]) -> Iterator[Booking]:
    """Each login in its minute."""
    for at_ms in logins.values():
        yield Booking(abs(at_ms) // MINUTE_MS, _LOGIN if at_ms >= 0 else _FAILURE)
