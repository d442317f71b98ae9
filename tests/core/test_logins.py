"""Logins, each counted once."""

import msgspec

from stream.core.events import Login
from stream.core.families.family import Horizon
from stream.core.families.logins import LOGIN_FAILURES, LOGINS, LoginsFamily, UserLogins
from stream.core.rules import Rules
from tests.native import decode_login

AT_MS = 1_704_067_200_000


def login(after_ms: int = 0, **sent: object) -> Login:
    return decode_login(msgspec.json.encode({"user_id": "ann", "event_time": AT_MS + after_ms, **sent}))


def logins(*sent: Login, family: LoginsFamily | None = None) -> UserLogins:
    family, known = family or LoginsFamily(Rules()), UserLogins()
    for one in sent:
        family.apply_login(known, one, 0)
    return known


def test_a_login_sent_twice_is_one_login() -> None:
    family = LoginsFamily(Rules())
    once = logins(login(), login(event_id="e"))

    assert not family.apply_login(once, login(), 0)
    assert not family.apply_login(once, login(event_id="e"), 0)
    assert len(once.times) == 2


def test_a_login_and_a_failure_of_the_same_moment_are_two_and_count_in_their_minute() -> None:
    for clock_ms, expected in ((AT_MS - 1, {}), (AT_MS, {LOGINS: 1, LOGIN_FAILURES: 1})):
        family = LoginsFamily(Rules())
        logins(login(), login(success=False), family=family)
        family.update_totals(clock_ms // 60_000)
        assert family.ring.sums()[60] == expected


def test_a_login_is_forgotten_when_the_same_one_would_be_late() -> None:
    family = LoginsFamily(Rules())
    known = logins(login(), login(success=False), login(1_000))

    for before_ms, left in ((AT_MS, 3), (AT_MS + 1, 1), (AT_MS + 1_001, 0)):
        family.prune(known, Horizon(before_ms, 0))
        assert len(known.times) == left
