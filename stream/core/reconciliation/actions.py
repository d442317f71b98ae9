"""What is kept of the events of a file: what each user did, in three numbers of 64 bits an event.

Tools cut the same events into other sessions, so single events are kept, and not sessions. Only those are kept of which
some tool's rules speak: steps and summaries of sessions, logins, and the use of features. An event that is read twice
is one action; it is a bot's, or late, only if all that were read are.
"""

from array import array
from collections.abc import Callable
from typing import NamedTuple

from stream.core.events import Event, FeatureUsed, Login, MultipleEvents, Step, Summary
from stream.core.messages import Reader, Record

# What an action is: bits that are kept together.
STEP, VIEW, END, KEY_EVENT, CUSTOM, INTERACTIVE, IN_SESSION, ACTIVE, BOT, LATE = (1 << bit for bit in range(10))
_FLAG_BITS = 10
_ENGAGED_BITS = 28  # a day of milliseconds, and one more value for none
NO_ID = 0  # the number of steps without a session id

# A copy that is none of these outweighs one that is.
_UNLESS_ALL_ARE = BOT | LATE
_IS_ORDINARY_STEP = INTERACTIVE | IN_SESSION


class Action(NamedTuple):
    """Something that a user did."""

    at_ms: int
    flags: int
    session: int  # a number for each session id of the user; 0 for none
    engaged_ms: int | None

    @property
    def is_ordinary(self) -> bool:
        """Whether it is an event that is part of a session by every tool's rules."""
        return self.flags & _IS_ORDINARY_STEP == _IS_ORDINARY_STEP


class Told(NamedTuple):
    """The summary of a whole session."""

    summary: Summary
    session: int
    flags: int


class Person:
    """What one user did, in the order in which it was read."""

    __slots__ = ("_numbers", "_sessions", "summaries")

    def __init__(self) -> None:
        self._numbers = array("Q")  # of each action: time, identity, and the rest
        self._sessions: dict[str, int] = {}
        self.summaries: list[Told] = []

    def add(self, at_ms: int, identity: int, flags: int, session_id: str | None, engaged_ms: int | None) -> None:
        """Add one action."""
        engaged = 0 if engaged_ms is None else engaged_ms + 1
        rest = (self.session_of(session_id) << _ENGAGED_BITS | engaged) << _FLAG_BITS | flags
        self._numbers.extend((at_ms, identity, rest))

    def session_of(self, session_id: str | None) -> int:
        """The number of a session id."""
        if session_id is None:
            return NO_ID
        return self._sessions.setdefault(session_id, len(self._sessions) + 1)

    def actions(self) -> list[Action]:
        """All that was done, each once, in order of time."""
        numbers, found = self._numbers, dict[tuple[int, int, int], int]()
        for index in range(0, len(numbers), 3):
            rest = numbers[index + 2]
            which = numbers[index], numbers[index + 1], rest | _UNLESS_ALL_ARE
            found[which] = found.get(which, rest) & rest
        return [_action_of(at_ms, rest) for at_ms, rest in sorted((key[0], rest) for key, rest in found.items())]


def _action_of(at_ms: int, rest: int) -> Action:
    flags, rest = rest & (1 << _FLAG_BITS) - 1, rest >> _FLAG_BITS
    engaged, session = rest & (1 << _ENGAGED_BITS) - 1, rest >> _ENGAGED_BITS
    return Action(at_ms, flags, session, engaged - 1 if engaged else None)


class Recorder:
    """Keeps what users did, of the events that readers read on their way to whoever counts them.

    Events after `not_after_ms` are of the future, and left out. With `late_after_ms` events are marked that come so
    long after a later one: then they must be read in the order in which they arrived.
    """

    def __init__(self, *, not_after_ms: int, late_after_ms: int | None = None) -> None:
        self._not_after_ms = not_after_ms
        self._late_after_ms = late_after_ms
        self._newest_ms = -1
        self.people: dict[str, Person] = {}

    def recording(self, reader: Reader) -> Reader:
        """The same reader; what it reads is kept."""
        note = self._note

        def read(record: Record) -> Event | MultipleEvents:
            event = reader(record)
            if type(event) is MultipleEvents:
                for _, single in event.events:
                    note(single)
            else:
                note(event)
            return event

        return read

    def _note(self, event: Event) -> None:
        keep = _KEPT.get(type(event))
        if keep is None or event.at_ms > self._not_after_ms or not event.user:
            return
        flags = BOT if event.is_bot else 0
        if self._late_after_ms is not None:
            self._newest_ms = max(self._newest_ms, event.at_ms)
            if event.at_ms < self._newest_ms - self._late_after_ms:
                flags |= LATE
        person = self.people.get(event.user)
        if person is None:
            person = self.people[event.user] = Person()
        keep(person, event, flags)


def _keep_step(person: Person, step: Step, flags: int) -> None:
    flags |= STEP
    if step.is_view:
        flags |= VIEW
    if step.is_end:
        flags |= END
    if step.is_key_event:
        flags |= KEY_EVENT
    if step.is_custom:
        flags |= CUSTOM
    if step.is_interactive:
        flags |= INTERACTIVE if step.is_end else INTERACTIVE | ACTIVE
    if step.in_session:
        flags |= IN_SESSION
    person.add(step.at_ms, step.identity, flags, step.session_id, step.engaged_ms)


def _keep_login(person: Person, login: Login, flags: int) -> None:
    person.add(login.at_ms, login.identity, flags | (ACTIVE if login.success else 0), None, None)


def _keep_feature(person: Person, used: FeatureUsed, flags: int) -> None:
    person.add(used.at_ms, used.identity, flags | (ACTIVE if used.is_interactive else 0), None, None)


def _keep_summary(person: Person, summary: Summary, flags: int) -> None:
    person.summaries.append(Told(summary, person.session_of(summary.session_id), flags))


_KEPT: dict[type[Event], Callable[..., None]] = {
    Step: _keep_step,
    Login: _keep_login,
    FeatureUsed: _keep_feature,
    Summary: _keep_summary,
}
