"""How fast messages of other formats are read and counted, beside native ones."""

import pytest

from tests.bench.formats import measure


@pytest.mark.bench
def test_formats_are_read_at_these_rates() -> None:
    rates = measure()

    assert min(rates.values()) > 0
    # As it is promised: a mapping is read at 60 % of the rate of native messages of the same size.
    assert rates["mapped"] >= 0.6 * rates["native, as large as mapped"]
    # And at that of the native message that tells the same, which is less than half as long.
    assert rates["mapped"] >= 0.6 * rates["native"]
