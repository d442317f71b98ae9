"""What the settings of an input say about its messages, beside their format."""

from typing import Any, Literal

import msgspec

from stream.core.survey_scales import Kind


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a question of a survey asks for, where the messages do not say it: one table `[[inputs.questions]]`."""

    question: str  # its id, reference or key in the messages; SURVEY/QUESTION is a question of one survey only
    kind: Kind  # csat, nps, ces or cxi
    dimension: Literal["effort", "empathy", "understanding", "efficiency"] | None = None  # of a cxi: which of its four
    scale_min: int | None = None  # the lowest score, if it is not the default of the kind
    scale_max: int | None = None  # the highest score
    higher_is: Literal["easier", "harder", "better", "worse"] | None = None  # what a high score of a csat or ces means
    scores: dict[str, int] = {}  # the scores of choices that are told by id or text


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What may be said about the messages of an input. Which of it has an effect depends on the format."""

    time: Literal["event", "record"] = "event"  # record: where a message has no time, that of its Kafka record counts
    zone: str = ""  # the IANA time zone of times that are told without an offset, if the format does not define one
    user: str = ""  # the field that holds your id of the user: a hidden field, a custom variable, embedded data
    logins: tuple[str, ...] = ()  # names of events that are logins, beside those that the format defines
    key_events: tuple[str, ...] = ()  # names of events that are key events
    passive: tuple[str, ...] = ()  # names of events that no user did: they make nobody active
    questions: tuple[Question, ...] = ()  # what the questions of surveys ask for
    inside: str = "auto"  # the format of what cloudevents carry
    mapping: dict[str, Any] = {}  # of the format mapped: what is where in the messages, see FORMATS.md
