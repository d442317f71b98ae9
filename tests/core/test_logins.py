"""Logins, each counted once."""

import msgspec

from stream.core.events import Login, decode_login
from stream.core.fields import LOGIN_FAILURES, LOGINS
from stream.core.logins import Logins, bookings, settled, with_login
from stream.core.ring import Booking

AT_MS = 1_704_067_200_000


def login(after_ms: int = 0, **told: object) -> Login:
    return decode_login(msgspec.json.encode({"user_id": "ann", "event_time": AT_MS + after_ms, **told}))


def logins(*told: Login) -> Logins:
    known: Logins = {}
    for one in told:
        known = with_login(known, one)
    return known


def test_a_login_sent_twice_is_one_login() -> None:
    once = logins(login(), login(event_id="e"))

    assert with_login(once, login()) is once
    assert with_login(once, login(event_id="e")) is once
    assert len(once) == 2


def test_a_login_and_a_failure_of_the_same_moment_are_two() -> None:
    found = list(bookings(logins(login(), login(success=False))))

    assert found == [Booking(AT_MS // 60_000, {LOGINS: 1}), Booking(AT_MS // 60_000, {LOGIN_FAILURES: 1})]


def test_a_login_is_forgotten_when_the_same_one_would_be_late() -> None:
    known = logins(login(), login(success=False), login(1_000))

    assert settled(known, before_ms=AT_MS) is known
    assert settled(known, before_ms=AT_MS + 1) == logins(login(1_000))
    assert settled({}, before_ms=AT_MS) == {}
