"""Which features one user has used, and when.

In a window a user counts once for each feature, at the last use. So the minute of the last use is kept, and those that
have not come because clocks differ; and the days of use, as far as a late event may come between them.
"""

import msgspec


class Use(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When one user has used one feature."""

    minutes: tuple[int, ...]  # the last that has come, then those in the future
    days: tuple[int, ...]  # local days, in order


class UserFeatures(msgspec.Struct, array_like=True, gc=False):
    """The features that one user has used, by name."""

    by_name: dict[str, Use] = {}
    times: dict[int, int] = {}  # by identity: the time in milliseconds of events that may be sent again
    booked: dict[str, Use] | None = None  # what the totals hold, if it has changed since then; never stored
