"""Sessions, activity, logins and survey responses, each once, from raw events, as stream/METRICS.md defines them."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from stream.core.rules import Rules
from stream.core.windows import SURVEYS

EventFields = Mapping[str, Any]
Person = tuple[str, str]

DAY = 86_400_000
STATUSES = ["shown", "dismissed", "partial", "completed", "retracted"]
SCALES = {"csat": (1, 5), "nps": (0, 10), "ces": (1, 7), "cxi": (1, 5)}
SEGMENTS = ("platform", "plan", "country", "app_version")
DIMENSIONS = ("effort", "empathy", "understanding", "efficiency")


class Visit(NamedTuple):
    """One session according to all of its steps, or to the summary that counts."""

    who: Person
    first: int
    last: int
    closes: int
    views: int
    key_events: int
    engaged: int | None
    prompted: bool | None  # what the first step says
    has_prompted: bool  # whether any step says something of it
    values: tuple[str, ...]  # of each segment the one that its steps told last

    @property
    def duration(self) -> int:
        return min(self.last - self.first, DAY)

    def has_one_page(self) -> bool:
        return self.views == 1 and self.key_events == 0

    def is_not_engaged(self) -> bool:
        attention = self.duration if self.engaged is None else self.engaged
        return not (attention >= 10_000 or self.views >= 2 or self.key_events >= 1)


NOBODY = {"", "null", "undefined", "guest"}  # of those that are generated


def id_of(event: EventFields, field: str) -> str | None:
    """An id as text, or None if there is none."""
    text = str(event.get(field, "")).strip() if event.get(field) is not None else ""
    return None if text.lower() in NOBODY else text


def who(event: EventFields) -> Person:
    """The `user_id`, or else the `anonymous_id`, which is another user than that of the same `user_id`."""
    user = id_of(event, "user_id")
    if user is not None:
        return "user", user
    device = id_of(event, "anonymous_id")
    assert device is not None
    return "anonymous", device


def is_step(event: EventFields) -> bool:
    """Whether a user did it: it is interactive and not an end."""
    return is_interactive(event) and event["type"] != "end"


def is_interactive(event: EventFields) -> bool:
    """Whether a person did it."""
    return event.get("interactive", True) is not False


def moment(event: EventFields) -> int:
    """The time of an event; that of a summary is the end of the session, whenever it was sent."""
    return int(event["ended_at"] if event.get("type") == "summary" else event["event_time"])


def of_topic(events: Iterable[EventFields], topic: str) -> list[EventFields]:
    return [event for event in events if event["topic"] == topic and not event.get("is_bot")]


def steps_and_summaries(events: Iterable[EventFields]) -> tuple[list[EventFields], list[EventFields]]:
    """Each step once (identified by user, session, type, time, event id and what counts), and all summaries."""
    steps: dict[tuple[Any, ...], EventFields] = {}
    summaries = []
    for event in of_topic(events, "sessions"):
        if event["type"] == "summary":
            summaries.append(event)
        else:
            flags = (event.get("key_event"), event.get("interactive"), event.get("in_session"), event.get("prompted"))
            content = (*flags, event.get("engaged_ms"))
            same = (id_of(event, "session_id"), event["type"], event["event_time"], event.get("event_id"), content)
            known = steps.get((who(event), same), event)  # sent again it may tell other values
            greatest = {name: max(value_told(known, name), value_told(event, name)) for name in SEGMENTS}
            steps[who(event), same] = {**event, **greatest}
    return list(steps.values()), summaries


def winners(summaries: Iterable[EventFields]) -> list[tuple[Person, str, EventFields]]:
    """By session: the summary with the highest revision, then the one with the latest end."""
    return [(person, session, max(known, key=rank)) for person, session, known in summarised_sessions(summaries)]


def summarised_sessions(summaries: Iterable[EventFields]) -> Iterator[tuple[Person, str, list[EventFields]]]:
    """The summaries of each session: those of one id, as long as no pause between two of them is longer than a day."""
    of_id: dict[tuple[Person, str], list[EventFields]] = {}
    for event in sorted(summaries, key=lambda event: int(event["started_at"])):
        of_id.setdefault((who(event), str(id_of(event, "session_id"))), []).append(event)
    for (person, session), known in of_id.items():
        begins = [0] + [
            place
            for place in range(1, len(known))
            if known[place]["started_at"] > max(event["ended_at"] for event in known[:place]) + DAY
        ]
        for begin, end in zip(begins, [*begins[1:], len(known)], strict=True):
            yield person, session, known[begin:end]


def rank(event: EventFields) -> tuple[Any, ...]:
    return event.get("revision", 0), event["ended_at"], *(value_told(event, name) for name in SEGMENTS)


def visits(events: Iterable[EventFields], rules: Rules) -> list[Visit]:
    """All sessions. A summary replaces the steps of its id within a day of its end."""
    steps, summaries = steps_and_summaries(events)
    won = winners(summaries)
    found = [
        Visit(
            person, event["started_at"], event["ended_at"], event["ended_at"],
            event["page_views"], event.get("key_events", 0), event.get("engaged_ms"), event.get("prompted"),
            event.get("prompted") is not None, tuple(value_told(event, name) or "unknown" for name in SEGMENTS),
        )
        for person, _, event in won
    ]  # fmt: skip
    tracks: dict[tuple[Person, str | None], list[EventFields]] = {}
    for event in steps:
        if event.get("interactive", True) and event.get("in_session", True):
            tracks.setdefault((who(event), id_of(event, "session_id")), []).append(event)
    for (person, session), own in tracks.items():
        ends = [event for event in own if event["type"] == "end"]
        pause = rules.session_timeout_ms if session is None else DAY
        bursts = _split_at_gaps([event for event in own if event["type"] != "end"], pause)
        own_summaries = [event for who_, id_, event in won if (who_, id_) == (person, session)]
        found += [
            _visit(person, near, ends, rules)
            for near in bursts
            if not any(_is_in_summary(summary, near) for summary in own_summaries)
        ]
    return found


def volume(events: Iterable[EventFields]) -> list[int]:
    """The time of each step; of a session of which there is only a summary its end, once for each page view."""
    steps, summaries = steps_and_summaries(events)
    times = [event["event_time"] for event in steps if is_step(event)]
    for person, session, event in winners(summaries):
        own = [
            step for step in steps
            if (who(step), id_of(step, "session_id")) == (person, session)
            and is_step(step) and step.get("in_session", True)
        ]  # fmt: skip
        if not any(_is_in_summary(event, near) for near in _split_at_gaps(own, DAY)):
            times += [event["ended_at"]] * event["page_views"]
    return times


def _is_in_summary(summary: EventFields, steps: list[EventFields]) -> bool:
    times, ended = [event["event_time"] for event in steps], int(summary["ended_at"])
    return bool(max(times) >= ended - DAY and min(times) <= ended + DAY)


def _split_at_gaps(events: list[EventFields], pause: int) -> Iterator[list[EventFields]]:
    if not events:
        return
    ordered = sorted(events, key=moment)
    begins = [0] + [
        place + 1
        for place in range(len(ordered) - 1)
        if ordered[place + 1]["event_time"] - ordered[place]["event_time"] > pause
    ]
    for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True):
        yield ordered[begin:end]


def _visit(person: Person, steps: list[EventFields], ends: list[EventFields], rules: Rules) -> Visit:
    times = [event["event_time"] for event in steps]
    first, last = min(times), max(times)
    engaged = [event["engaged_ms"] for event in steps if event.get("engaged_ms") is not None]
    closing = [event for event in ends if last <= event["event_time"] <= last + rules.session_timeout_ms]
    closes = last + rules.session_timeout_ms
    if closing:
        end = max(closing, key=lambda event: (event["event_time"], event.get("engaged_ms", -1)))
        last = closes = end["event_time"]
        engaged += [end["engaged_ms"]] if end.get("engaged_ms") is not None else []
    said = [event["prompted"] for event in steps if event["event_time"] == first and event.get("prompted") is not None]
    return Visit(
        person,
        first,
        last,
        closes,
        sum(event["type"] in ("page_view", "screen_view") for event in steps),
        sum(bool(event.get("key_event")) for event in steps),
        sum(engaged) if engaged else None,
        any(said) if said else None,
        any(event.get("prompted") is not None for event in steps),
        tuple(_last_told(steps, name) for name in SEGMENTS),
    )


def _last_told(steps: list[EventFields], segment: str) -> str:
    event = [(step["event_time"], value_told(step, segment)) for step in steps if value_told(step, segment)]
    return max(event, default=(0, "unknown"))[1]


def activity(events: list[EventFields]) -> set[tuple[Person, int]]:
    """Who was active, and when."""
    steps, summaries = steps_and_summaries(events)
    active = {(who(event), event["event_time"]) for event in steps if is_step(event)}
    active |= {(who(event), event["event_time"]) for event in of_topic(events, "logins") if event.get("success", True)}
    active |= {(who(event), event["event_time"]) for event in of_topic(events, "features") if is_interactive(event)}
    for person, _, event in winners(summaries):
        active |= {(person, event["started_at"]), (person, event["ended_at"])}
    return active


class Life(NamedTuple):
    """Days of a person, with no longer pause between two of them than is remembered."""

    days: list[int]
    active: list[int]  # those on which the person was active


def lives(
    active: Iterable[tuple[Person, int]], events: Iterable[EventFields], rules: Rules
) -> dict[Person, list[Life]]:
    """The days of each person: those of activity, and those on which anything else happened."""
    day_of = rules.days.day_of
    of_person: dict[Person, tuple[set[int], set[int]]] = {}
    for person, day in active:
        for days in of_person.setdefault(person, (set(), set())):
            days.add(day)
    for event in events:
        if event.get("type") != "summary":
            of_person.setdefault(who(event), (set(), set()))[0].add(day_of(event["event_time"]))
    found: dict[Person, list[Life]] = {}
    for person, (days, active_days) in of_person.items():
        begins = [day for before, day in pairwise([-(10**9), *sorted(days)]) if day - before > rules.memory_days]
        found[person] = [
            Life(*(sorted(day for day in some if begin <= day < end) for some in (days, active_days)))
            for begin, end in zip(begins, [*begins[1:], 10**9], strict=True)
        ]
    return found


def beginnings(events: list[EventFields], rules: Rules) -> list[int]:
    """When users were active for the first time: ever, or after more days without an event than are remembered.

    Left out is the day of the first event of all, on which everybody seems new.
    """
    day_of = rules.days.day_of
    active = activity(events)
    first_day = min((day_of(moment(event)) for event in events), default=0)
    found = []
    for person, of_person in lives([(person, day_of(at)) for person, at in active], events, rules).items():
        firsts = [life.active[0] for life in of_person if life.active]
        times = [[at for who_, at in active if who_ == person and day_of(at) == day] for day in firsts]
        found += [min(of_day) for of_day in times]
    return [at for at in found if day_of(at) > first_day]


def forgotten_until(of_persons: Mapping[Person, list[Life]]) -> dict[Person, int]:
    """Of those who were forgotten before they were last active: the last day before that."""
    found = {}
    for person, of_person in of_persons.items():
        active = [place for place, life in enumerate(of_person) if life.active]
        if active and active[-1] > 0:
            found[person] = of_person[active[-1] - 1].days[-1]
    return found


def without_uncounted_segments(events: Iterable[EventFields], rules: Rules) -> list[EventFields]:
    """The events without the values of segments that are not counted. These are treated as absent."""
    uncounted = {*SEGMENTS} - {*rules.segments}
    return [{field: content for field, content in event.items() if field not in uncounted} for event in events]


def value_told(event: EventFields, segment: str) -> str:
    """The value of a segment that a message tells; empty for none."""
    label = event.get(segment)
    value = str(label) if isinstance(label, int) and not isinstance(label, bool) else label
    if not isinstance(value, str) or value.strip() in ("unknown", "null", "a\x07b"):
        return ""
    return value.strip()


def newest_values(
    events: list[EventFields], segment: str, rules: Rules, forgotten: Mapping[Person, int]
) -> dict[Person, str]:
    """By person: the value of the newest activity event that has one; of equal times the greatest.

    Events up to the day on which the person was `forgotten` don't count.
    """
    sessions = [event for event in of_topic(events, "sessions") if event["type"] == "summary" or is_step(event)]
    logins = [event for event in of_topic(events, "logins") if event.get("success", True)]
    features = [event for event in of_topic(events, "features") if is_interactive(event)]
    told_last: dict[Person, tuple[int, str]] = {}
    for event in [*sessions, *logins, *features, *of_topic(events, "accounts")]:
        value = value_told(event, segment)
        if value and rules.days.day_of(moment(event)) > forgotten.get(who(event), -1):
            told_last[who(event)] = max(told_last.get(who(event), (-1, "")), (moment(event), value))
    return {person: value for person, (_, value) in told_last.items()}


class Reply(NamedTuple):
    """A survey response in its latest state, and when it was first shown."""

    who: Person
    event: EventFields
    shown: int | None

    @property
    def at(self) -> int:
        return int(self.event["event_time"])

    @property
    def status(self) -> str:
        return str(self.event.get("status", "completed"))

    @property
    def answers(self) -> bool:
        content = self.event.get("scores" if self.event["kind"] == "cxi" else "score")
        return self.status in ("completed", "partial") and content is not None

    @property
    def one_of(self) -> tuple[object, ...]:
        """The group of the answer. In each group only the latest answer counts."""
        kind, interaction = self.event["kind"], id_of(self.event, "interaction_id")
        if kind == "nps":
            return kind, self.who
        if kind == "cxi" or not interaction:
            return kind, self.who, "response", id_of(self.event, "response_id")
        return kind, self.who, "interaction", interaction


def _how_far(event: EventFields) -> tuple[bool, int, int]:
    status = event.get("status", "completed")
    return status != "shown", event["event_time"], STATUSES.index(status)


def responses(events: Iterable[EventFields], rules: Rules) -> list[Reply]:
    """All responses that were not retracted. The states of an id are of one response, unless a pause is too long."""
    states: dict[tuple[Person, str], list[EventFields]] = {}
    for event in of_topic(events, "surveys"):
        states.setdefault((who(event), str(id_of(event, "response_id"))), []).append(event)
    units = {"m": 60_000, "h": 3_600_000, "d": DAY}
    pause = max(90 * DAY, *(int(window[:-1]) * units[window[-1]] for window in rules.windows_of(SURVEYS)))
    replies = []
    for (person, _), of_id in states.items():
        for known in _split_at_gaps(of_id, pause):
            latest = max(known, key=_how_far)
            shown = [event["event_time"] for event in known if event.get("status") == "shown"]
            reply = Reply(person, latest, min(shown, default=None))
            if reply.status != "retracted":
                replies.append(reply)
    return replies


def scale_of(event: EventFields) -> tuple[int, int]:
    low, high = SCALES[event["kind"]]
    return event.get("scale_min", low), event.get("scale_max", high)


def score(event: EventFields, to: tuple[int, int]) -> Fraction:
    """The score, reversed if high is bad, and converted linearly to the scale `to`."""
    low, high = scale_of(event)
    given = low + high - event["score"] if event.get("higher_is") in ("harder", "worse") else event["score"]
    return to[0] + Fraction(int(given) - low, high - low) * (to[1] - to[0])


def logins(events: Iterable[EventFields]) -> list[tuple[bool, int]]:
    """Each login once (identified by user, success, time and event id): whether it succeeded, and when."""
    told_once = {
        (who(event), event.get("success", True), event["event_time"], event.get("event_id"))
        for event in of_topic(events, "logins")
    }
    return [(success, at) for _, success, at, _ in told_once]
