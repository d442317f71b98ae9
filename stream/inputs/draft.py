"""A first mapping for JSON of an unknown shape, by the names and the values of its fields (`engagement inputs draft`).

It is a proposal. What it says of each field is written beside it, so that whoever knows the messages can judge.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from stream.core.ids import is_placeholder
from stream.core.time import parse_iso
from stream.inputs.mapping.paths import Path
from stream.inputs.mapping.sources import is_blank, text_of
from stream.inputs.mapping.times import UNITS

_MOST_VALUES: Final = 2_000  # of a field are told apart
_MOST_FIELDS: Final = 2_000
_MOST_LEVELS: Final = 6
_MOST_EVENTS: Final = 30  # more kinds of events are named in one comment

_2001_MS: Final = 978_307_200_000  # an epoch number means a moment of the years 2001 to 2100
_2100_MS: Final = 4_102_444_800_000

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


# By field of ours: names that such fields have elsewhere, as words, the most telling first.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "user_id": _words(
        "user id, userid, uid, customer id, account id, member id, person id, player id, user, distinct id, customer, "
        "member, player, login, username, user name, email"
    ),
    "anonymous_id": _words(
        "anonymous id, device id, visitor id, client id, cookie id, device, visitor, installation id"
    ),
    "event_time": _words(
        "event time, timestamp, occurred at, event timestamp, created at, time, ts, date, datetime, "
        "at, sent at, received at"
    ),
    "session_id": _words("session id, sessionid, sid, sess id, session, sess, session uuid, visit id, visit"),
    "event_id": _words("event id, message id, insert id, uuid, id"),
    "event": _words("event name, event type, event, evt, activity, action, name, type, kind"),
    "platform": _words("platform, os, os name, device type, channel"),
    "country": _words("country, country code, geo country"),
    "plan": _words("plan, plan name, tier, subscription plan"),
    "app_version": _words("app version, version, ver, build, release"),
    "user_agent": _words("user agent, useragent, ua"),
    "is_bot": _words("is bot, bot"),
    "success": _words("success, succeeded, successful, ok"),
}

# Of a survey's answer: its own fields, and names that they have elsewhere.
_ANSWER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "score": _words(
        "score, nps, nps score, csat, csat score, ces, ces score, rating, grade, stars, satisfaction, effort"
    ),
    "response_id": _words("response id, responseid, answer id, submission id, feedback id, event id, uuid, id"),
    "survey_id": _words("survey id, surveyid, form id, campaign id, survey"),
    "interaction_id": _words("interaction id, ticket id, case id, conversation id, call id"),
}
_NO_ANSWER: Final = frozenset({"session_id", "event_id"})  # an answer has no such field
_HIGHEST_SCORE, _HIGHEST_STAR = 10, 5

# Of an order: its own fields, and names that they have elsewhere.
_ORDER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": _words(
        "order id, orderid, order no, order number, transaction id, tx id, txid, tx, invoice id, payment id, order"
    ),
    "amount": _words("amount, total, revenue, price, value"),
    "currency": _words("currency, currency code, cur"),
}

# By kind of survey: words in names of fields or of surveys that ask for it.
_KINDS: Final = (
    ("nps", re.compile(r"\bnps\b|promoter|recommend", re.IGNORECASE)),
    ("ces", re.compile(r"\bces\b|effort", re.IGNORECASE)),
    ("csat", re.compile(r"\bcsat\b|satisf|rating|stars", re.IGNORECASE)),
)

# By event of ours: words in names of events that are most likely such ones. The first that fits counts.
_MEANINGS: Final = (
    ("logins", re.compile(r"log(ged)?[ _-]?in\b|sign(ed)?[ _-]?in\b|\blogin", re.IGNORECASE)),
    ("screen_view", re.compile(r"screen", re.IGNORECASE)),
    ("page_view", re.compile(r"page|view|visit", re.IGNORECASE)),
    ("heartbeat", re.compile(r"heartbeat|ping\b|alive", re.IGNORECASE)),
)


# What a comment asks about, for it may be more than a step of a session: an order, a sign-up.
_IS_ORDER: Final = re.compile(r"purchase|\bpaid\b|payment|order", re.IGNORECASE)
_IS_SIGN_UP: Final = re.compile(r"sign(ed)?[ _-]?up\b|\bregist(er|ration)|account[ _-]created", re.IGNORECASE)


@dataclass(slots=True)
class Field:
    """A field of the messages: how often it tells something, and what."""

    path: Path
    count: int = 0
    values: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    sample: list[Any] = field(default_factory=list)

    def add(self, value: Any) -> None:
        """Look at one value."""
        self.count += 1
        self.types[type(value).__name__] += 1
        text = text_of(value)
        if len(self.values) < _MOST_VALUES or text in self.values:
            self.values[text] += 1
        if len(self.sample) < _MOST_VALUES:
            self.sample.append(value)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of its path."""
        return tuple(word.lower() for step in self.path.steps for word in _WORDS.findall(str(step)))


class Fields:
    """The fields of some messages."""

    def __init__(self) -> None:
        self.messages = 0
        self._found: dict[tuple[str | int, ...], Field] = {}

    def add(self, message: Mapping[str, Any]) -> None:
        """Look at the fields of a message."""
        self.messages += 1
        for steps, value in _leaves(message, ()):
            if steps in self._found or len(self._found) < _MOST_FIELDS:
                self._found.setdefault(steps, Field(Path(steps, False))).add(value)

    def all(self) -> list[Field]:
        """All fields, those first that tell something in most messages."""
        return sorted(self._found.values(), key=lambda one: (-one.count, len(one.path.steps)))

    def named_like(self, ours: str) -> Iterator[Field]:
        """The fields whose names are like those that a field of ours has elsewhere, the most telling first."""
        for name in {**_NAMES, **_ANSWER_NAMES, **_ORDER_NAMES}[ours]:
            words = tuple(name.split())
            fitting = [one for one in self.all() if one.words[-len(words) :] == words]
            yield from sorted(fitting, key=lambda one: (len(one.path.steps), -one.count))


def _leaves(value: Any, steps: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict) and len(steps) < _MOST_LEVELS:
        for name, inner in value.items():
            yield from _leaves(inner, (*steps, name))
    elif steps and isinstance(value, (str, int, float)) and not is_blank(value):
        yield steps, value


def draft_of(fields: Fields, *, topic: str) -> str:
    """The text of a mapping, in TOML, with a table `[[inputs]]` around it."""
    taken: dict[str, Field] = {}
    score = _choose("score", fields, taken)
    is_survey = score is not None and score.count * 2 >= fields.messages
    wanted = [name for name in _NAMES if not (is_survey and name in _NO_ANSWER)]
    if is_survey:
        wanted = [*_ANSWER_NAMES, *wanted]
    lines = [
        "[[inputs]]",
        f"topic = {_quoted(topic)}",
        'format = "mapped"',
        "",
        "[inputs.mapping]  # a field of yours for each of ours; what follows # is what your messages say",
    ]
    for ours in wanted:
        found = None if ours == "success" and not _tells_logins(taken.get("event")) else _choose(ours, fields, taken)
        if found is not None:
            taken[ours] = found
            lines.append(_line(ours, found, fields))
        elif ours in ("user_id", "event_time", "response_id"):
            lines.append(f'# {ours} = "?"  # no field looks like it: name yours')
    event = taken.get("event")
    events = _surveys(event, taken["score"]) if is_survey else [*_events(event), *_customers(event, fields, taken)]
    return "\n".join([*lines, "", *events]) + "\n"


def _choose(ours: str, fields: Fields, taken: Mapping[str, Field]) -> Field | None:
    free = [one for one in fields.named_like(ours) if one not in taken.values() and _may_be(ours, one, fields)]
    if not free and ours == "event_time":
        free = [one for one in fields.all() if _time_source(one) is not None]
    most = max((one.count for one in free), default=0)
    # A field that is seldom there is passed over where another one has more.
    return next((one for one in free if one.count * 2 >= most), None)


def _tells_logins(event: Field | None) -> bool:
    return event is not None and any(_meaning(value) == "logins" for value in event.values)


def _may_be(ours: str, one: Field, fields: Fields) -> bool:
    """Whether the values of a field are such as ours has."""
    if ours == "event_time":
        return _time_source(one) is not None
    if ours == "event":
        return "str" in one.types and len(one.values) <= max(_MOST_EVENTS, fields.messages // 10)
    if ours == "event_id":
        return len(one.values) > one.count * 0.9
    if ours == "score":
        scores = [_number(value) for value in one.sample]
        return _most(score is not None and score.is_integer() and 0 <= score <= _HIGHEST_SCORE for score in scores)
    if ours == "response_id":
        return len(one.values) > one.count * 0.5 and not set(one.types) & {"bool", "float"}
    if ours in ("user_id", "anonymous_id", "session_id", "survey_id", "interaction_id"):
        return not (set(one.types) & {"bool"}) and not all(map(is_placeholder, one.values))
    if ours in ("is_bot", "success"):
        return set(one.types) == {"bool"}
    return set(one.types) <= {"str"} or ours == "app_version"


def _time_source(one: Field) -> str | None:
    """How a mapping reads these times; None where they are none."""
    sample = one.sample[:100]
    path = _quoted(str(one.path))
    if _most(isinstance(value, str) and parse_iso(value) is not None for value in sample):
        return path
    if _most(isinstance(value, str) and parse_iso(f"{value.strip()}Z") is not None for value in sample):
        return f'{{ path = {path}, zone = "UTC" }}'
    numbers = [_number(value) for value in sample]
    for unit, ns in UNITS.items():
        if _most(number is not None and _2001_MS <= number * ns / 10**6 < _2100_MS for number in numbers):
            return f'{{ path = {path}, unit = "{unit}" }}'
    return None


def _most(holds: Iterable[bool]) -> bool:
    """Whether something holds of nine of ten: some values are always broken."""
    answers = list(holds)
    return sum(answers) >= 0.9 * len(answers)


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _line(ours: str, one: Field, fields: Fields) -> str:
    source = _time_source(one) if ours == "event_time" else _quoted(str(one.path))
    share = "in all messages" if one.count == fields.messages else f"in {one.count:,} of {fields.messages:,} messages"
    values = (value for value in one.values if ours != "event_time" or _time_source(Field(one.path, sample=[value])))
    different = f"{len(one.values):,}{'+' if len(one.values) >= _MOST_VALUES else ''} different"
    doubt = "; a guess: say in which zone it is" if source is not None and "zone" in source else ""
    return f"{ours} = {source}  # {share}, {different}, as {_shown(next(values))}{doubt}"


def _events(event: Field | None) -> list[str]:
    lines = ["[inputs.mapping.events]  # an event of ours, and the values of yours that mean it"]
    if event is None:
        return [*lines, 'event = "*"  # every message is a step of a session: no field tells what happened']
    meant: dict[str, list[str]] = {}
    others: list[str] = []
    for value, _ in event.values.most_common(_MOST_EVENTS):
        name = _meaning(value)
        (others if name is None else meant.setdefault(name, [])).append(value)
    lines += [f"{name} = [{', '.join(map(_quoted, values))}]" for name, values in meant.items()]
    lines.append('event = "*"  # every other one is a step of a session; without this line it is left out')
    if others:
        lines.append(f"# others, the most frequent first: {', '.join(map(_shown, others))}")
    return lines


def _meaning(value: str) -> str | None:
    """The event of ours that a name of an event most likely means; None if it tells none."""
    return next((name for name, words in _MEANINGS if words.search(value)), None)


def _customers(event: Field | None, fields: Fields, taken: Mapping[str, Field]) -> Iterator[str]:
    """What a table of an event would be whose values look like an order or a sign-up, as comments.

    It is no more than a comment, because an event has one meaning: a step that becomes an order is no step any more.
    """
    values = [value for value, _ in event.values.most_common(_MOST_EVENTS)] if event is not None else []
    orders = [value for value in values if _IS_ORDER.search(value.replace("_", " "))]
    found = {
        ours: next((one for one in fields.named_like(ours) if one not in taken.values()), None) for ours in _ORDER_NAMES
    }
    if orders and found["order_id"] is not None and found["amount"] is not None:
        sources = [f"{ours} = {_quoted(str(one.path))}" for ours, one in found.items() if one is not None]
        if found["currency"] is None:
            sources.append('currency = { value = "?" }')
        told = f"is = [{', '.join(map(_quoted, orders))}], {', '.join(sources)}"
        yield f"# instead of a step an order, if it is money that is paid: paid = {{ {told} }}"
    sign_ups = [value for value in values if _IS_SIGN_UP.search(value.replace("_", " "))]
    if sign_ups:
        yield f"# instead of a step a sign-up: signed_up = [{', '.join(map(_quoted, sign_ups))}]"


def _surveys(event: Field | None, score: Field) -> list[str]:
    """What the scores are of: by the field that tells the kind of survey, else by the name of their own field."""
    lines = ["[inputs.mapping.events]  # a kind of survey, and the values of yours that mean it"]
    kinds: dict[str, list[str]] = {}
    for value, _ in event.values.most_common(_MOST_EVENTS) if event is not None else ():
        kind = _kind_of_survey(value)
        if kind is not None:
            kinds.setdefault(kind, []).append(value)
    if kinds:
        lines += [f"{kind} = [{', '.join(map(_quoted, values))}]" for kind, values in kinds.items()]
        return [*lines, "# what is none of these is left out"]
    kind = _kind_of_survey(" ".join(score.words))
    scores = [number for number in map(_number, score.sample) if number is not None]
    told = f"the scores are {min(scores):g} to {max(scores):g}"
    if kind is not None:
        return [*lines, f'{kind} = "*"  # as its field is called; {told}']
    guess = "nps" if max(scores) > _HIGHEST_STAR or min(scores) == 0 else "csat"
    return [*lines, f'{guess} = "*"  # a guess, for {told}: it may be csat, nps or ces']


def _kind_of_survey(text: str) -> str | None:
    return next((kind for kind, words in _KINDS if words.search(text.replace("_", " "))), None)


def _quoted(text: str) -> str:
    """A text as TOML writes it, which is as JSON does."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def _shown(value: str) -> str:
    return _quoted(value if len(value) <= 40 else f"{value[:39]}…")


def messages_in(documents: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """The events in some documents: those that are objects, and the objects of those that are lists."""
    for document in documents:
        for one in document if isinstance(document, list) else [document]:
            if isinstance(one, dict):
                yield one
