"""Money, exactly: whole numbers of a currency's minor unit, such as cents.

How many decimals a currency has is defined by ISO 4217: the yen has none, the Bahraini dinar three. Metals, funds and
test codes have no minor unit, so nothing can be paid in them here.
"""

from decimal import Decimal

from iso4217 import Currency

from stream.core.rejections import Reason, Rejected

# Those that were withdrawn since 2010: old events are paid in them, and stored totals stay readable when the library's
# list loses one.
_WITHDRAWN = {
    **dict.fromkeys(("ANG", "BGN", "CUC", "EEK", "HRK", "LTL", "LVL", "MRO", "SLL", "STD", "VEF", "ZMK", "ZWL"), 2),
    "BYR": 0,
}

DECIMALS: dict[str, int] = {
    **_WITHDRAWN,
    **{currency.code: currency.exponent for currency in Currency if currency.exponent is not None},
}

# Ten trillion euros. Sums of some thousand such amounts still fit into the 64 bits in which tallies are stored.
_MOST = 10**15


def minor_units(amount: Decimal, currency: str, *, field: str = "amount") -> int:
    """The amount in the currency's minor unit. Raises Rejected if it is not exactly that, or negative."""
    decimals = DECIMALS.get(currency)
    if decimals is None:
        raise Rejected(Reason.UNKNOWN_VALUE, f"{currency!r} at `$.currency` is no ISO 4217 currency with a minor unit")
    if not amount.is_finite() or amount.adjusted() > 20:
        raise Rejected(Reason.OUT_OF_RANGE, f"{amount} at `$.{field}` is no amount of money")
    units = amount.scaleb(decimals)
    whole = int(units)
    if whole != units:
        raise Rejected(Reason.OUT_OF_RANGE, f"{amount} at `$.{field}`: {currency} has {decimals} decimals, not more")
    if not 0 <= whole <= _MOST:
        raise Rejected(Reason.OUT_OF_RANGE, f"{amount} at `$.{field}` is not between 0 and {in_units(_MOST, currency)}")
    return whole


def in_units(minor: float, currency: str) -> float:
    """An amount of the minor unit as units of the currency, as it is shown."""
    return float(minor / 10 ** DECIMALS[currency])


# -- as fields of tallies ----------------------------------------------------------------------------------------------

# A field of money is a number too: a currency and what is counted in it. These numbers are stored.
_FIRST_FIELD = 1_000_000
MEANINGS = 32


def field_of(currency: str, meaning: int) -> int:
    """The field of a tally for what is counted in a currency; the family says what `meaning`, 0 to 31, stands for."""
    number = 0
    for letter in currency:
        number = number * 26 + ord(letter) - ord("A")
    return _FIRST_FIELD + number * MEANINGS + meaning


_CURRENCIES = {field_of(currency, 0): currency for currency in DECIMALS}


def currency_of(field: object) -> str | None:
    """The currency of a field; None for a field that is not of money."""
    return _CURRENCIES.get(field - field % MEANINGS) if isinstance(field, int) else None
