"""What happened, told once: sessions, activity, logins and survey responses out of raw events, as METRICS.md has it."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from stream.core.rules import Rules

Told = Mapping[str, Any]
Person = tuple[str, str]

DAY = 86_400_000
STATUSES = ["shown", "dismissed", "partial", "completed", "retracted"]
SCALES = {"csat": (1, 5), "nps": (0, 10), "ces": (1, 7), "cxi": (1, 5)}
DIMENSIONS = ("effort", "empathy", "understanding", "efficiency")


class Visit(NamedTuple):
    """One session as told by all of its steps, or by its winning summary."""

    who: Person
    first: int
    last: int
    closes: int
    views: int
    key_events: int
    engaged: int | None
    prompted: bool | None  # what the first step says
    says_prompted: bool  # whether any step says something of it

    @property
    def duration(self) -> int:
        return min(self.last - self.first, DAY)


NOBODY = {"", "null", "undefined", "guest"}  # of those that are generated


def id_of(told: Told, field: str) -> str | None:
    """An id as text, or None where none is told."""
    text = str(told.get(field, "")).strip() if told.get(field) is not None else ""
    return None if text.lower() in NOBODY else text


def who(told: Told) -> Person:
    """`user_id`, else `anonymous_id`: another user than that of the same `user_id`."""
    user = id_of(told, "user_id")
    if user is not None:
        return "user", user
    device = id_of(told, "anonymous_id")
    assert device is not None
    return "anonymous", device


def is_step(told: Told) -> bool:
    """Whether somebody did it: no ping, and no end."""
    return bool(told.get("interactive", True)) and told["type"] != "end"


def moment(told: Told) -> int:
    """When it happened: a summary at its end, whenever it was sent."""
    return int(told["ended_at"] if told.get("type") == "summary" else told["event_time"])


def of_topic(events: Iterable[Told], topic: str) -> list[Told]:
    return [told for told in events if told["topic"] == topic and not told.get("is_bot")]


def steps_and_summaries(events: Iterable[Told]) -> tuple[list[Told], list[Told]]:
    """Each step once (user, session, type, time, event id and what counts tell it), and all summaries."""
    steps, summaries = {}, []
    for told in of_topic(events, "sessions"):
        if told["type"] == "summary":
            summaries.append(told)
        else:
            flags = (told.get("key_event"), told.get("interactive"), told.get("in_session"), told.get("prompted"))
            content = (*flags, told.get("engaged_ms"))
            same = (id_of(told, "session_id"), told["type"], told["event_time"], told.get("event_id"), content)
            steps[who(told), same] = told
    return list(steps.values()), summaries


def winners(summaries: Iterable[Told]) -> list[tuple[Person, str, Told]]:
    """Of each session the summary of the highest revision, then of the latest end.

    Of one session are those of one id, as long as no more than a day lies between two ends.
    """
    of_id: dict[tuple[Person, str], list[Told]] = {}
    for told in summaries:
        of_id.setdefault((who(told), str(id_of(told, "session_id"))), []).append(told)
    return [
        (person, session, max(of_one, key=lambda told: (told.get("revision", 0), told["ended_at"])))
        for (person, session), known in of_id.items()
        for of_one in _split_at_gaps(known, DAY)
    ]


def visits(events: Iterable[Told], rules: Rules) -> list[Visit]:
    """Every session. One that a summary tells stands for the steps of its id within a day of it."""
    steps, summaries = steps_and_summaries(events)
    won = winners(summaries)
    found = [
        Visit(
            person, told["started_at"], told["ended_at"], told["ended_at"],
            told["page_views"], told.get("key_events", 0), told.get("engaged_ms"), told.get("prompted"),
            told.get("prompted") is not None,
        )
        for person, _, told in won
    ]  # fmt: skip
    tracks: dict[tuple[Person, str | None], list[Told]] = {}
    for told in steps:
        if told.get("interactive", True) and told.get("in_session", True):
            tracks.setdefault((who(told), id_of(told, "session_id")), []).append(told)
    for (person, session), own in tracks.items():
        ends = [told for told in own if told["type"] == "end"]
        pause = rules.session_timeout_ms if session is None else DAY
        bursts = _split_at_gaps([told for told in own if told["type"] != "end"], pause)
        own_summaries = [told for who_, id_, told in won if (who_, id_) == (person, session)]
        found += [
            _visit(person, near, ends, rules)
            for near in bursts
            if not any(_told_by(summary, near) for summary in own_summaries)
        ]
    return found


def volume(events: Iterable[Told]) -> list[int]:
    """The time of each step; of a session that a summary alone tells its end, once for each page view."""
    steps, summaries = steps_and_summaries(events)
    times = [told["event_time"] for told in steps if is_step(told)]
    for person, session, told in winners(summaries):
        own = [
            step for step in steps
            if (who(step), id_of(step, "session_id")) == (person, session)
            and is_step(step) and step.get("in_session", True)
        ]  # fmt: skip
        if not any(_told_by(told, near) for near in _split_at_gaps(own, DAY)):
            times += [told["ended_at"]] * told["page_views"]
    return times


def _told_by(summary: Told, steps: list[Told]) -> bool:
    times = [told["event_time"] for told in steps]
    ended: int = summary["ended_at"]
    return bool(max(times) >= ended - DAY and min(times) <= ended + DAY)


def _split_at_gaps(told: list[Told], pause: int) -> Iterator[list[Told]]:
    if not told:
        return
    ordered = sorted(told, key=moment)
    begins = [0] + [
        place + 1 for place in range(len(ordered) - 1) if moment(ordered[place + 1]) - moment(ordered[place]) > pause
    ]
    for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True):
        yield ordered[begin:end]


def _visit(person: Person, steps: list[Told], ends: list[Told], rules: Rules) -> Visit:
    times = [told["event_time"] for told in steps]
    first, last = min(times), max(times)
    engaged = [told["engaged_ms"] for told in steps if told.get("engaged_ms") is not None]
    closing = [told for told in ends if last <= told["event_time"] <= last + rules.session_timeout_ms]
    closes = last + rules.session_timeout_ms
    if closing:
        end = max(closing, key=lambda told: (told["event_time"], told.get("engaged_ms", -1)))
        last = closes = end["event_time"]
        engaged += [end["engaged_ms"]] if end.get("engaged_ms") is not None else []
    said = [told["prompted"] for told in steps if told["event_time"] == first and told.get("prompted") is not None]
    return Visit(
        person,
        first,
        last,
        closes,
        sum(told["type"] in ("page_view", "screen_view") for told in steps),
        sum(bool(told.get("key_event")) for told in steps),
        sum(engaged) if engaged else None,
        any(said) if said else None,
        any(told.get("prompted") is not None for told in steps),
    )


def activity(events: list[Told]) -> set[tuple[Person, int]]:
    """Who was active, and when."""
    steps, summaries = steps_and_summaries(events)
    active = {(who(told), told["event_time"]) for told in steps if is_step(told)}
    active |= {(who(told), told["event_time"]) for told in of_topic(events, "logins") if told.get("success", True)}
    for person, _, told in winners(summaries):
        active |= {(person, told["started_at"]), (person, told["ended_at"])}
    return active


def lives(events: list[Told], rules: Rules) -> dict[Person, list[tuple[list[int], list[int]]]]:
    """Of each person the days on which something was heard, apart where more lie between them than are remembered.

    Each life with its days and the times of activity on them.
    """
    day_of = rules.days.day_of
    active = activity(events)
    heard: dict[Person, set[int]] = {}
    for person, at in active:
        heard.setdefault(person, set()).add(day_of(at))
    for told in events:
        if told.get("type") != "summary":
            heard.setdefault(who(told), set()).add(day_of(told["event_time"]))
    found = {}
    for person, days in heard.items():
        begins = [day for before, day in pairwise([-(10**9), *sorted(days)]) if day - before > rules.memory_days]
        found[person] = [
            (
                [day for day in sorted(days) if begin <= day < end],
                [at for who_, at in active if who_ == person and begin <= day_of(at) < end],
            )
            for begin, end in zip(begins, [*begins[1:], 10**9], strict=True)
        ]
    return found


def beginnings(events: list[Told], rules: Rules) -> list[int]:
    """When users were active for the first time: ever, or after more days without an event than are remembered.

    Left out is the day of the first event of all, on which everybody seems new.
    """
    day_of = rules.days.day_of
    first_day = min((day_of(moment(told)) for told in events), default=0)
    firsts = [min(times) for of_person in lives(events, rules).values() for _, times in of_person if times]
    return [at for at in firsts if day_of(at) > first_day]


def values_told(events: list[Told], segment: str, rules: Rules) -> dict[Person, str]:
    """The value that each person's newest activity event told that told any; of equal times the greatest.

    What was told before the person was forgotten is not known any more.
    """
    sessions = [told for told in of_topic(events, "sessions") if told["type"] == "summary" or is_step(told)]
    logins = [told for told in of_topic(events, "logins") if told.get("success", True)]
    told_last: dict[Person, tuple[int, str]] = {}
    day_of, forgotten_until = rules.days.day_of, _forgotten_until(events, rules)
    for told in [*sessions, *logins]:
        if day_of(moment(told)) <= forgotten_until.get(who(told), -1):
            continue
        label = told.get(segment)
        value = str(label) if isinstance(label, int) and not isinstance(label, bool) else label
        if isinstance(value, str) and value.strip() not in ("", "unknown", "null", "a\x07b"):
            latest = told_last.get(who(told), (-1, ""))
            told_last[who(told)] = max(latest, (moment(told), value.strip()))
    return {person: value for person, (_, value) in told_last.items()}


def _forgotten_until(events: list[Told], rules: Rules) -> dict[Person, int]:
    """The last day before the last life with any activity, of those who had an earlier one."""
    found = {}
    for person, of_person in lives(events, rules).items():
        active = [place for place, (_, times) in enumerate(of_person) if times]
        if active and active[-1] > 0:
            days, _ = of_person[active[-1] - 1]
            found[person] = days[-1]
    return found


class Reply(NamedTuple):
    """A survey response in its latest state, and when it was first shown."""

    who: Person
    told: Told
    shown: int | None

    @property
    def at(self) -> int:
        return int(self.told["event_time"])

    @property
    def status(self) -> str:
        return str(self.told.get("status", "completed"))

    @property
    def answers(self) -> bool:
        content = self.told.get("scores" if self.told["kind"] == "cxi" else "score")
        return self.status in ("completed", "partial") and content is not None

    @property
    def one_of(self) -> tuple[object, ...]:
        """What shares one place among the answers: of these only the latest counts."""
        kind, interaction = self.told["kind"], id_of(self.told, "interaction_id")
        if kind == "nps":
            return kind, self.who
        if kind == "cxi" or not interaction:
            return kind, self.who, "response", id_of(self.told, "response_id")
        return kind, self.who, "interaction", interaction


def _how_far(told: Told) -> tuple[bool, int, int]:
    status = told.get("status", "completed")
    return status != "shown", told["event_time"], STATUSES.index(status)


def responses(events: Iterable[Told], *, pause: int) -> list[Reply]:
    """Every response that was not taken back. Of one are the states of an id with no longer pause between them."""
    states: dict[tuple[Person, str], list[Told]] = {}
    for told in of_topic(events, "surveys"):
        states.setdefault((who(told), str(id_of(told, "response_id"))), []).append(told)
    replies = []
    for (person, _), of_id in states.items():
        for known in _split_at_gaps(of_id, pause):
            latest = max(known, key=_how_far)
            shown = [told["event_time"] for told in known if told.get("status") == "shown"]
            reply = Reply(person, latest, min(shown, default=None))
            if reply.status != "retracted":
                replies.append(reply)
    return replies


def scale_of(told: Told) -> tuple[int, int]:
    low, high = SCALES[told["kind"]]
    return told.get("scale_min", low), told.get("scale_max", high)


def score(told: Told, to: tuple[int, int]) -> Fraction:
    """The score, turned round where high is bad, linearly on the scale `to`."""
    low, high = scale_of(told)
    given = low + high - told["score"] if told.get("higher_is") in ("harder", "worse") else told["score"]
    return to[0] + Fraction(int(given) - low, high - low) * (to[1] - to[0])


def logins(events: Iterable[Told]) -> list[tuple[bool, int]]:
    """Each login once (user, success, time and event id tell it): whether it succeeded, and when."""
    told_once = {
        (who(told), told.get("success", True), told["event_time"], told.get("event_id"))
        for told in of_topic(events, "logins")
    }
    return [(success, at) for _, success, at, _ in told_once]
