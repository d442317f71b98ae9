"""A mistake in a mapping is told when it is read: with the field, and with what may have been meant."""

import pytest
import tomli

from stream.inputs.mapping.paths import parse_path, value_at
from stream.inputs.mapping.reader import mapping_of
from stream.inputs.mapping.sources import MappingError
from stream.inputs.options import Options

GOOD = {"user_id": '"u"', "event_time": '"t"', "event": '"n"', "events.page_view": '"page"'}


def mistake(changes: dict[str, str | None]) -> str:
    """What is said of a good mapping with these changes."""
    lines = {**GOOD, **changes}
    toml = "\n".join(f"{name} = {value}" for name, value in lines.items() if value is not None)
    with pytest.raises(MappingError) as raised:
        mapping_of(Options(mapping=tomli.loads(toml)))
    return str(raised.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"user": '"u"'}, "user: native messages have no such field: is 'user_id' meant?"),
        ({"user_id": None}, "user_id: is missing: page_view needs it or anonymous_id"),
        ({"event_time": None}, "event_time: is missing: page_view needs it"),
        ({"event": None}, "event: is missing: events.page_view has values of the field that tells what happened"),
        ({"events.page_view": None}, "events: needs at least one of sessions, page_view, screen_view"),
        ({"events.pageview": '"page"'}, "events.pageview: is none of sessions, page_view"),
        ({"events.pageview": '"page"'}, "is 'page_view' meant?"),
        ({"events.page_view": "[]"}, "events.page_view: an empty list has no value"),
        ({"events.page_view": '[""]'}, "events.page_view: '' is no value of a field"),
        (
            {"events.page_view": '{ is = "p", engagedms = "e" }'},
            "events.page_view.engagedms: sessions have no such field",
        ),
        ({"events.page_view": '{ is = "p", engagedms = "e" }'}, "is 'engaged_ms' meant?"),
        ({"events.page_view": '{ is = "p", type = "t" }'}, "events.page_view.type: it is 'page_view' already: map 's"),
        ({"events.sessions": '"s"'}, "events.sessions.type: is missing: sessions needs it"),
        ({"events.nps": '{ is = "n" }'}, "events.nps.response_id: is missing: nps needs it"),
        ({"events.summary": '[{ is = "a" }]'}, "events.summary[1].session_id: is missing: summary needs it"),
        ({"score": '"s"'}, "score: no event of this mapping has such a field: page_view"),
        ({"user_id": '"a..b"'}, "user_id: 'a..b' is no path such as"),
        ({"user_id": "[]"}, "user_id: an empty list has no source"),
        ({"user_id": "{}"}, "user_id: needs one of path, jmespath, header, record, value, not none"),
        ({"user_id": '{ path = "a", header = "b" }'}, "not path and header"),
        ({"user_id": '{ pth = "a" }'}, "user_id: 'pth' is none of path, jmespath"),
        ({"user_id": '{ pth = "a" }'}, "is 'path' meant?"),
        ({"user_id": "{ path = 5 }"}, "user_id.path: expected `str | null`, got `int`"),
        ({"user_id": '{ record = "value" }'}, "user_id.record: invalid enum value 'value'"),
        ({"user_id": '{ jmespath = "a[" }'}, "user_id: jmespath 'a[':"),
        ({"user_id": '{ path = "u", unit = "s" }'}, "user_id: unit is for times only"),
        ({"event_time": '{ path = "t", unit = "min" }'}, "event_time: unit 'min' is none of s, ms, us, ns"),
        ({"event_time": '{ path = "t", unit = "s", zone = "UTC" }'}, "event_time: unit 's' is of numbers, which"),
        ({"event_time": '{ path = "t", zone = "Berlin" }'}, "event_time: zone 'Berlin' is no IANA time zone"),
        ({"event_time": '{ path = "t", format = "%d.%m.%Y" }'}, "event_time: format '%d.%m.%Y' has no offset, %z"),
        ({"event_time": '{ path = "t", format = "%Q", zone = "UTC" }'}, "event_time: format '%Q':"),
        ({"event_time": '{ path = "t", default = "soon" }'}, "event_time: 'soon': 'soon' at `the constant` is no ISO"),
        (
            {"events.page_view": '{ is = "p", engaged_ms = { path = "e", default = -5 } }'},
            "engaged_ms: -5: expected `int`",
        ),
        ({"events.nps": '{ is = "n", response_id = "i", status = { path = "s", values = { x = "done" } } }'}, "'done'"),
        ({"where": '"env"'}, "where: 'env' is no condition such as { path = 'env', is = 'production' }"),
        ({"unless": '[{ path = "a" }, { is = "x" }]'}, "unless[2]: needs one of path"),
        ({"where": '{ path = "a", value = 1 }'}, "where: 'value' is none of path, jmespath, header, record, is: "),
        ({"where": '{ path = "a", in = ["b"] }'}, "where: 'in' is none of path, jmespath, header, record, is: "),
        ({"each": "7"}, "each: 7 is no path"),
        ({"each": '"a["'}, "each: 'a[' is no path"),
    ],
)
def test_a_mistake_is_told_with_its_field(changes: dict[str, str | None], told: str) -> None:
    assert told in mistake(changes)


def test_a_good_mapping_has_no_mistake() -> None:
    mapping_of(Options(mapping=tomli.loads("\n".join(f"{name} = {value}" for name, value in GOOD.items()))))


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ("$insert_id", ("$insert_id",)),
        ("a b.c-d", ("a b", "c-d")),
        ("a[0].b[-1]", ("a", 0, "b", -1)),
        ('a."b.c"', ("a", "b.c")),
        ('"a\\"b".c', ('a"b', "c")),
        ("[1].a", (1, "a")),
        ("$", ()),
        ("$.a", ("a",)),
        ("$[0]", (0,)),
    ],
)
def test_a_path_is_what_it_is_written_as(text: str, steps: tuple[str | int, ...]) -> None:
    path = parse_path(text)

    assert path.steps == steps
    assert path.from_message == (text == "$" or text[:2] in ("$.", "$["))
    assert parse_path(str(path)) == path


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a]", 'a"b"', '"a', "a[0]b", "$.", "$a.", "a.[0]"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no path such as"):
        parse_path(text)


def test_a_path_that_leads_nowhere_leads_to_nothing() -> None:
    document = {"a": [{"b": 1}], "c": "text"}

    assert value_at(document, ("a", 0, "b")) == 1
    for steps in (("a", 1), ("a", -2), ("a", "b"), ("c", "b"), ("c", 0), ("x", "y"), ("a", 0, "b", "c")):
        assert value_at(document, steps) is None
