"""The time zones of the IANA database, as the package `tzdata` has them, whatever the machine has installed.

Python prefers the machine's own database. Then two workers on machines with different editions could take one event for
events of two days, and a container would count otherwise than the laptop on which its files are computed again.
"""

import hashlib
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tzdata

# The edition of the database, as IANA names it, such as 2026a.
EDITION: str = tzdata.IANA_VERSION

# What a server is told by workers beside the settings in which they must agree.
DATABASE = "zone database"

_FINGERPRINT_DIGITS = 12


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """The names of all time zones. `Factory`, which means that no zone was chosen, is none."""
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split()) - {"Factory"}


@lru_cache(maxsize=1_024)
def zone(name: str) -> ZoneInfo:
    """The time zone of this name, such as Europe/Berlin. Raises ZoneInfoNotFoundError if there is none."""
    return ZoneInfo.from_file(BytesIO(_content(name)), key=name)


@lru_cache(maxsize=1_024)
def fingerprint(name: str) -> str:
    """A text that is the same in two editions if they have the same rules for this zone, and else another one."""
    return hashlib.sha256(_content(name)).hexdigest()[:_FINGERPRINT_DIGITS]


def _content(name: str) -> bytes:
    if name not in names():  # so that no name is a path to another file
        raise ZoneInfoNotFoundError(f"no IANA time zone has the name {name!r}")
    return files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def rules_of(name: str) -> str:
    """Whose rules a zone goes by here: the edition, and in parentheses the fingerprint of the zone's rules in it."""
    return f"{EDITION} ({fingerprint(name)})"


def are_same_rules(one: str, other: str) -> bool:
    """Whether two texts of `rules_of` are of the same rules. Most editions change few zones."""
    return one.rpartition(" ")[2] == other.rpartition(" ")[2]
