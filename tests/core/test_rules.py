"""The rules of a deployment."""

from stream.core.rules import Rules
from stream.core.windows import ACTIVITY, whole_days


def closed_windows(*windows: str) -> tuple[int, ...]:
    rules = Rules(windows={"activity": windows}) if windows else Rules()
    return whole_days(rules.windows_of(ACTIVITY))


def test_closed_windows_are_the_activity_windows_of_whole_days_and_the_day_itself() -> None:
    assert closed_windows() == (1, 7, 28, 30)
    assert closed_windows("5m") == (1,)
    assert closed_windows("48h", "26h", "24h", "7d") == (1, 2, 7)
