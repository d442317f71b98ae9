"""`/api/v1/dimensions`: five sides of engagement beside each other, now and a month ago.

How long users have been known (longevity), how often they come (frequency), how much they do (volume), who they are and
where (context), and whether they come by themselves (proactiveness). No score is made of the five: a product for every
day and one for once a month differ in what is good.

Windows are 28 days, or the longest there are of a family that has none of 28 days. What is told live is live, the rest
is of the last closed day. A month ago is the closed day 28 days before that one, so that both have the same weekdays. A
number that nothing is known of is left out, and what was not known a month ago is null.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stream.core.catalogue import BY_NAME
from stream.core.intervals import wilson
from stream.core.metrics import closed_name, is_closed
from stream.core.samples import Labels, Sample
from stream.core.time import date_of, iso
from stream.export.board import Board
from stream.export.documents import with_sample_sizes

_DAYS = 28
# Of each segment so many values are told, those with the most users now.
_MOST_VALUES = 3
_L28 = "engagement_l28_users_closed"
_SEGMENTS, _ACTIVE = "engagement_segment_active_users", "engagement_active_users"

Document = dict[str, Any]
_Value = Mapping[str, float]  # value, lower, upper, sample_size


class Number(NamedTuple):
    """A number of a dimension: what it is called, its metric, and the labels of it that are not the window."""

    title: str
    metric: str
    labels: Labels


class Dimension(NamedTuple):
    """A side of engagement, and the question that its numbers answer."""

    name: str
    question: str
    numbers: tuple[Number, ...]


DIMENSIONS = (
    Dimension(
        "longevity",
        "How long have those who come been known?",
        (
            Number("Time since the first day, median", "engagement_user_tenure_closed_seconds", {"quantile": "0.5"}),
            Number("New users, of less than 28 days", "engagement_tenure_active_users_closed", {"tenure": "new"}),
            Number("Established users", "engagement_tenure_active_users_closed", {"tenure": "established"}),
        ),
    ),
    Dimension("frequency", "How often do they come?", (Number("Active days of 28, mean", _L28, {}),)),
    Dimension(
        "volume",
        "How much do they do?",
        (
            Number("Steps, an active user", "engagement_steps_per_active_user", {}),
            Number("Orders, a buyer", "engagement_orders_per_buyer", {}),
            Number("Contacts, an active user", "engagement_contacts_per_active_user", {}),
        ),
    ),
    Dimension("context", "Who are they, and where?", (Number("Users by segment", _SEGMENTS, {}),)),
    Dimension(
        "proactiveness",
        "Do they come by themselves?",
        (
            Number("Unprompted sessions", "engagement_unprompted_session_ratio", {}),
            Number("Contacts that customers began", "engagement_contacts_of_customers_ratio", {}),
        ),
    ),
)

_OWN_DEFINITIONS = {
    _L28: "Mean number of days, of the 28 that end with the last closed day, on which a user was active who was active"
    " at all in them.",
    _SEGMENTS: "Share of the active users of the window who have this value of a segment.",
}


def dimensions(board: Board) -> Document:
    """The document."""
    merged, last = board.merged, board.last_closed_day()
    before = None if last is None else last - _DAYS
    is_told = before is not None and before in board.closed_between(before, before)
    now = _Told(board.live(), [] if last is None else board.closed_samples(last))
    then = _Told([], board.closed_samples(before) if before is not None and is_told else [])
    first = None if merged.first_ms is None else board.rules.days.day_of(merged.first_ms)
    known_days = 0 if before is None or first is None else before - first
    return {
        "at": iso(merged.now_ms) if merged.now_ms >= 0 else None,
        "last_closed_day": _date(last),
        "before_day": _date(before),
        "dimensions": [
            {
                "name": dimension.name,
                "question": dimension.question,
                "numbers": [
                    told for number in dimension.numbers for told in _numbers(number, now, then, known_days=known_days)
                ],
            }
            for dimension in DIMENSIONS
        ],
    }


def _date(day: int | None) -> str | None:
    return None if day is None else date_of(day).isoformat()


class _Told:
    """The samples of a moment: live ones, and those of a closed day."""

    def __init__(self, live: Sequence[Sample], closed: Sequence[Sample]) -> None:
        documents = [*with_sample_sizes(live), *with_sample_sizes(closed)]
        self._by_name: dict[str, list[Document]] = {}
        for document in documents:
            self._by_name.setdefault(document["name"], []).append(document)

    def named(self, name: str) -> list[Document]:
        return self._by_name.get(name, [])

    def find(self, name: str, labels: Labels) -> Document | None:
        return next((document for document in self.named(name) if document["labels"] == labels), None)

    def value(self, name: str, labels: Labels) -> _Value | None:
        """A number with its interval and its sample size."""
        found = self.find(name, labels)
        if found is None:
            return None
        told = {"value": found["value"]}
        for end in ("lower", "upper"):
            if (one := self.find(f"{name}_{end}", labels)) is not None:
                told[end] = one["value"]
        return told | {key: found[key] for key in ("sample_size",) if key in found}


def _numbers(number: Number, now: _Told, then: _Told, *, known_days: int) -> Iterator[Document]:
    """What is told of a number: one document, or of segments one for each value."""
    if number.metric == _L28:
        yield from _compared(number, {}, _active_days, now, then, known_days >= _DAYS)
        return
    told = [*now.named(number.metric), *then.named(_then(number.metric))]
    window = _window(one["labels"]["window"] for one in told)
    if window is None:
        return
    is_known_then = known_days >= int(window.removesuffix("d"))
    if number.metric != _SEGMENTS:
        yield from _compared(number, {"window": window, **number.labels}, _Told.value, now, then, is_known_then)
        return
    counted = [one for one in now.named(_SEGMENTS) if one["labels"]["window"] == window]
    for segment in dict.fromkeys(one["labels"]["segment"] for one in counted):
        its = [one for one in counted if one["labels"]["segment"] == segment and one["value"]]
        for one in sorted(its, key=lambda one: -one["value"])[:_MOST_VALUES]:
            titled = number._replace(title=f"{segment.replace('_', ' ')}: {one['labels']['value']}")
            yield from _compared(titled, one["labels"], _segment_share, now, then, is_known_then)


def _compared(
    number: Number,
    labels: Labels,
    value_of: Callable[[_Told, str, Labels], _Value | None],
    now: _Told,
    then: _Told,
    is_known_then: bool,
) -> Iterable[Document]:
    """A number now and a month ago; nothing where it is known of neither."""
    metric = BY_NAME[number.metric]
    is_live = not is_closed(metric.name)
    told = value_of(now, metric.name, labels)
    before = value_of(then, _then(metric.name), labels) if is_known_then else None
    if told is None and before is None:
        return ()
    unit = {_L28: "days", _SEGMENTS: "ratio"}.get(metric.name, metric.unit)
    definition = _OWN_DEFINITIONS.get(metric.name, metric.help)
    return (
        {
            "title": number.title,
            "metric": metric.name,
            "labels": dict(labels),
            "unit": unit,
            "definition": definition,
            "is_live": is_live,
            "now": told,
            "before": before,
        },
    )


def _active_days(told: _Told, name: str, labels: Labels) -> _Value | None:
    """The mean number of active days, of the users by their number."""
    users = {int(one["labels"]["days"]): one["value"] for one in told.named(name)}
    whole = sum(users.values())
    if not whole:
        return None
    return {"value": sum(days * count for days, count in users.items()) / whole, "sample_size": whole}


def _segment_share(told: _Told, name: str, labels: Labels) -> _Value | None:
    """The share of the active users who have a value of a segment."""
    users = closed_name(_ACTIVE) if is_closed(name) else _ACTIVE
    part, whole = told.find(name, labels), told.find(users, {"window": labels["window"]})
    if whole is None or not whole["value"]:
        return None
    count = 0 if part is None else part["value"]
    interval = wilson(count, int(whole["value"]))
    assert interval is not None, "somebody is active"
    share = count / whole["value"]
    return {"value": share, "lower": interval.lower, "upper": interval.upper, "sample_size": whole["value"]}


def _then(name: str) -> str:
    """The name of the same number of closed days."""
    return name if is_closed(name) else closed_name(name)


def _window(told: Iterable[str]) -> str | None:
    """28 days, or the longest of the windows that are told and are whole days; None where there is none."""
    lengths = {int(window.removesuffix("d")) for window in told if window.endswith("d")}
    return f"{_DAYS if _DAYS in lengths else max(lengths)}d" if lengths else None
