"""The formats of inputs, and what reads a message of each.

A format is a module of this folder: what reads its messages (`reader_of`), how one is recognised (`recognises`) and
which settings of an input have an effect on it (`USES`). A line here makes it known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from stream.core.families.registry import message_kinds
from stream.core.messages import Reader
from stream.core.rejections import Reason, Rejected
from stream.inputs import (
    amplitude,
    auto,
    chatwoot,
    cloudevents,
    delighted,
    formbricks,
    ga4,
    mixpanel,
    native,
    posthog,
    qualtrics,
    rudderstack,
    segment,
    snowplow,
    surveymonkey,
    typeform,
)
from stream.inputs.mapping import reader as mapped
from stream.inputs.options import Options

NATIVE, AUTO, CLOUDEVENTS, MAPPED = "native", "auto", auto.CLOUDEVENTS, "mapped"


@dataclass(frozen=True, slots=True)
class Format:
    """A format that tells by itself what its messages are about."""

    reader_of: Callable[[Options], Reader]
    recognises: auto.Recognises
    uses: frozenset[str]  # the options that have an effect
    user_field: str | None = None  # the field at the top of a message that names the user
    needs_questions: bool = False  # its messages don't say what a question asks for


_OTHERS: Mapping[str, Format] = {
    "segment": Format(segment.reader_of, segment.recognises, segment.USES, "userId"),
    "rudderstack": Format(rudderstack.reader_of, rudderstack.recognises, rudderstack.USES, "userId"),
    "snowplow": Format(snowplow.reader_of, snowplow.recognises, snowplow.USES, "user_id"),
    "posthog": Format(posthog.reader_of, posthog.recognises, posthog.USES, "distinct_id"),
    "ga4": Format(ga4.reader_of, ga4.recognises, ga4.USES, "user_id"),
    "mixpanel": Format(mixpanel.reader_of, mixpanel.recognises, mixpanel.USES, "distinct_id"),
    "amplitude": Format(amplitude.reader_of, amplitude.recognises, amplitude.USES, "user_id"),
    "delighted": Format(delighted.reader_of, delighted.recognises, delighted.USES),
    "typeform": Format(typeform.reader_of, typeform.recognises, typeform.USES),
    "surveymonkey": Format(surveymonkey.reader_of, surveymonkey.recognises, surveymonkey.USES, needs_questions=True),
    "qualtrics": Format(qualtrics.reader_of, qualtrics.recognises, qualtrics.USES, needs_questions=True),
    "formbricks": Format(formbricks.reader_of, formbricks.recognises, formbricks.USES, needs_questions=True),
    "chatwoot": Format(chatwoot.reader_of, chatwoot.recognises, chatwoot.USES),
}

FORMATS = (NATIVE, AUTO, *_OTHERS, CLOUDEVENTS, MAPPED)

_EVERY_OPTION = frozenset(Options.__struct_fields__)


def kinds() -> tuple[str, ...]:
    """The kinds of native messages."""
    return tuple(message_kinds())


def uses(format: str) -> frozenset[str]:  # noqa: A002  as the setting is called
    """The options that have an effect on a format."""
    if format == NATIVE:
        return native.USES
    if format in (AUTO, CLOUDEVENTS):
        return _EVERY_OPTION if format == CLOUDEVENTS else _EVERY_OPTION - {"inside", "mapping"}
    if format == MAPPED:
        return mapped.USES
    return _OTHERS[format].uses


def needs_questions(format: str) -> bool:  # noqa: A002  as the setting is called
    """Whether the messages of a format don't say what a question asks for."""
    return format in _OTHERS and _OTHERS[format].needs_questions


def names_user(format: str) -> bool:  # noqa: A002  as the setting is called
    """Whether an envelope can name the user of a message of a format."""
    return _user_field(format) is not None


def _user_field(format: str) -> str | None:  # noqa: A002
    return "user_id" if format == NATIVE else _OTHERS[format].user_field if format in _OTHERS else None


def reader(
    *,
    format: str,  # noqa: A002  as the setting is called
    kind: str = "",
    options: Options = Options(),  # noqa: B008  a frozen value
    on_recognised: Callable[[str], None] = lambda name: None,
) -> Reader:
    """What reads the messages of an input. Raises KeyError for a kind that is none.

    `kind` is that of native messages. `on_recognised` is told each format that `auto` finds, when it finds it first.
    """
    if format == NATIVE:
        return native.reader_of(message_kinds()[kind], options)
    if format == CLOUDEVENTS:
        inside = options.inside

        def reader_inside(its: Options) -> Reader:
            return reader(format=inside, kind=kind, options=its, on_recognised=on_recognised)

        return cloudevents.reader_of(options, reader_inside, user_field=_user_field(inside))
    if format == MAPPED:
        return mapped.reader_of(options)
    if format == AUTO:
        return _reader_of_any(kind, options, on_recognised)
    return _OTHERS[format].reader_of(options)


def _reader_of_any(kind: str, options: Options, on_recognised: Callable[[str], None]) -> Reader:
    readers: dict[tuple[str, str], Reader] = {}
    recognisers = {
        NATIVE: native.recognises,
        CLOUDEVENTS: cloudevents.recognises,
        **{name: one.recognises for name, one in _OTHERS.items()},
    }

    def reader_of_format(name: str, fields: Mapping[str, msgspec.Raw]) -> Reader:
        its_kind = (kind or _kind_of(fields)) if name == NATIVE else kind
        found = readers.get((name, its_kind))
        if found is None:
            found = reader(format=name, kind=its_kind, options=options, on_recognised=on_recognised)
            readers[name, its_kind] = found
        return found

    return auto.reader_of(recognisers, reader_of_format, on_recognised)


def _kind_of(fields: Mapping[str, msgspec.Raw]) -> str:
    """The kind of a native message, by the field that only messages of this kind need or have. Raises Rejected."""
    if "response_id" in fields:
        return "surveys"
    if "type" in fields:
        return "sessions"
    if "success" in fields or "method" in fields:
        return "logins"
    told = "a native message without `$.type`, `$.response_id`, `$.success` or `$.method`: set the kind of the input"
    raise Rejected(Reason.MISSING_FIELD, told)
