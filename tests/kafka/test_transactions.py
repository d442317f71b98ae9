"""How long the last stable offset of a partition has stood still before records."""

from stream.kafka.transactions import StableOffsets
from stream.telemetry import OpenTransaction

LOGINS = ("logins", 0)


def test_a_partition_without_open_transactions_has_none_however_long_nothing_comes() -> None:
    offsets = StableOffsets()

    assert offsets.observe(LOGINS, stable=7, end=7, at_ms=0) is None
    assert offsets.observe(LOGINS, stable=7, end=7, at_ms=60_000) is None


def test_a_transaction_is_as_old_as_the_standstill_of_the_offset_it_begins_at() -> None:
    offsets = StableOffsets()

    assert offsets.observe(LOGINS, stable=7, end=9, at_ms=1_000) == OpenTransaction(seconds=0, records=2)
    assert offsets.observe(LOGINS, stable=7, end=12, at_ms=3_500) == OpenTransaction(seconds=2.5, records=5)
    assert offsets.observe(("logins", 1), stable=7, end=8, at_ms=3_500) == OpenTransaction(seconds=0, records=1)


def test_one_transaction_after_the_other_is_no_standstill() -> None:
    offsets = StableOffsets()
    ages = [offsets.observe(LOGINS, stable=n, end=n + 5, at_ms=1_000 * n) for n in range(60)]
    offsets.observe(LOGINS, stable=90, end=90, at_ms=90_000)

    assert {found.seconds for found in ages if found is not None} == {0}
    assert offsets.observe(LOGINS, stable=90, end=91, at_ms=95_000) == OpenTransaction(seconds=0, records=1)


def test_without_a_new_fetch_no_time_passes() -> None:
    offsets = StableOffsets()
    offsets.observe(LOGINS, stable=7, end=9, at_ms=1_000)

    assert offsets.observe(LOGINS, stable=7, end=9, at_ms=1_000) == OpenTransaction(seconds=0, records=2)
    assert offsets.observe(LOGINS, stable=7, end=9, at_ms=500) == OpenTransaction(seconds=0, records=2)
