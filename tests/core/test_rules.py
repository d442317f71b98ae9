"""The rules of a deployment."""

from stream.core.rules import Rules


def test_closed_windows_are_the_activity_windows_of_whole_days_and_the_day_itself() -> None:
    assert Rules().closed_days == (1, 7, 28, 30)
    assert Rules(activity_windows=("5m",)).closed_days == (1,)
    assert Rules(activity_windows=("48h", "26h", "24h", "7d")).closed_days == (1, 2, 7)
