"""How long a user without further events is known, if neither windows nor the retention need it for longer."""

from stream.core.rules import Rules
from tests.core.live import Worker
from tests.core.test_retention import LOGINS, apply, login, move_to, swept

# 64 days for closed days, three of lateness, and one more.
KEPT_DAYS = 68


def test_a_user_is_known_for_two_months_of_closed_days_even_with_no_retention() -> None:
    windows = {"activity": ("1d", "7d", "30d"), "surveys": ("30d",)}
    worker = Worker(Rules(memory_days=1, retention_ms=0, windows=windows))
    apply(worker, LOGINS, login("ann"))
    move_to(worker, KEPT_DAYS)
    assert b"user/ann" in swept(worker)

    move_to(worker, KEPT_DAYS + 0.01)
    assert b"user/ann" not in swept(worker)
