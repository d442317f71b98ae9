"""What happened, told once: sessions, activity, logins and survey responses out of raw events, as METRICS.md has it."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from operator import itemgetter
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

    @property
    def duration(self) -> int:
        return min(self.last - self.first, DAY)


def who(told: Told) -> Person:
    """`user_id`, else `anonymous_id`: another user than that of the same `user_id`."""
    if told.get("user_id") is not None:
        return "user", told["user_id"].strip()
    return "anonymous", told["anonymous_id"].strip()


def of_topic(events: Iterable[Told], topic: str) -> list[Told]:
    return [told for told in events if told["topic"] == topic and not told.get("is_bot")]


def steps_and_summaries(events: Iterable[Told]) -> tuple[list[Told], list[Told]]:
    """Each step once (user, session, type, time, event id and what counts tell it), and all summaries."""
    steps, summaries = {}, []
    for told in of_topic(events, "sessions"):
        if told["type"] == "summary":
            summaries.append(told)
        else:
            content = (told.get("key_event"), told.get("interactive"), told.get("engaged_ms"))
            same = (told.get("session_id"), told["type"], told["event_time"], told.get("event_id"), content)
            steps[who(told), same] = told
    return list(steps.values()), summaries


def winners(summaries: Iterable[Told]) -> dict[tuple[Person, str], Told]:
    """Of each session the summary of the highest revision, then of the latest end."""
    ranked = sorted(summaries, key=lambda told: (told.get("revision", 0), told["ended_at"]))
    return {(who(told), told["session_id"]): told for told in ranked}


def visits(events: Iterable[Told], rules: Rules) -> list[Visit]:
    steps, summaries = steps_and_summaries(events)
    won = winners(summaries)
    found = [
        Visit(
            person, told["started_at"], told["ended_at"], told["ended_at"],
            told["page_views"], told.get("key_events", 0), told.get("engaged_ms"),
        )
        for (person, _), told in won.items()
    ]  # fmt: skip
    by_session: dict[tuple[Person, str], list[Told]] = {}
    by_person: dict[Person, list[Told]] = {}
    for told in steps:
        session = told.get("session_id")
        if session is None:
            by_person.setdefault(who(told), []).append(told)
        elif (who(told), session) not in won:
            by_session.setdefault((who(told), session), []).append(told)
    found += [_visit(person, own, rules) for (person, _), own in by_session.items()]
    for person, own in by_person.items():
        found += [_visit(person, near, rules) for near in _split_at_gaps(own, rules.session_timeout_ms)]
    return found


def _split_at_gaps(steps: list[Told], timeout: int) -> Iterator[list[Told]]:
    ordered = sorted(steps, key=itemgetter("event_time"))
    begins = [0] + [
        place + 1
        for place in range(len(ordered) - 1)
        if ordered[place + 1]["event_time"] - ordered[place]["event_time"] > timeout
    ]
    for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True):
        yield ordered[begin:end]


def _visit(person: Person, steps: list[Told], rules: Rules) -> Visit:
    times = [told["event_time"] for told in steps]
    ends = [told["event_time"] for told in steps if told["type"] == "end"]
    engaged = [told["engaged_ms"] for told in steps if told.get("engaged_ms") is not None]
    return Visit(
        person,
        min(times),
        max(times),
        max(times) if max(times) in ends else max(times) + rules.session_timeout_ms,
        sum(told["type"] in ("page_view", "screen_view") for told in steps),
        sum(bool(told.get("key_event")) for told in steps),
        sum(engaged) if engaged else None,
    )


def activity(events: list[Told]) -> set[tuple[Person, int]]:
    """Who was active, and when."""
    steps, summaries = steps_and_summaries(events)
    active = {(who(told), told["event_time"]) for told in steps if told.get("interactive", True)}
    active |= {(who(told), told["event_time"]) for told in of_topic(events, "logins") if told.get("success", True)}
    for (person, _), told in winners(summaries).items():
        active |= {(person, told["started_at"]), (person, told["ended_at"])}
    return active


def values_told(events: list[Told], segment: str) -> dict[Person, str]:
    """The value that each person's newest activity event told that told any; of equal times the greatest."""
    sessions = [
        told for told in of_topic(events, "sessions") if told["type"] == "summary" or told.get("interactive", True)
    ]
    logins = [told for told in of_topic(events, "logins") if told.get("success", True)]
    told_last: dict[Person, tuple[int, str]] = {}
    for told in [*sessions, *logins]:
        label = told.get(segment)
        value = str(label) if isinstance(label, int) and not isinstance(label, bool) else label
        if isinstance(value, str) and value.strip() not in ("", "unknown"):
            latest = told_last.get(who(told), (-1, ""))
            told_last[who(told)] = max(latest, (told["event_time"], value.strip()))
    return {person: value for person, (_, value) in told_last.items()}


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
        kind, interaction = self.told["kind"], self.told.get("interaction_id")
        if kind == "nps":
            return kind, self.who
        if kind == "cxi" or not interaction:
            return kind, self.who, "response", self.told["response_id"]
        return kind, self.who, "interaction", interaction


def _how_far(told: Told) -> tuple[bool, int, int]:
    status = told.get("status", "completed")
    return status != "shown", told["event_time"], STATUSES.index(status)


def responses(events: Iterable[Told]) -> list[Reply]:
    """Every response that was not taken back."""
    states: dict[tuple[Person, str], list[Told]] = {}
    for told in of_topic(events, "surveys"):
        states.setdefault((who(told), told["response_id"]), []).append(told)
    replies = []
    for (person, _), known in states.items():
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
