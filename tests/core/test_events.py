"""How messages become events: what every message needs, and why one is refused. Here for sessions and logins."""

from typing import Any
from unicodedata import normalize

import msgspec
import pytest

from stream.core import users
from stream.core.events import Login, Step, Summary
from stream.core.rejections import Reason, Rejected
from stream.core.time import DAY_MS
from stream.core.users import partition_key, user_of
from stream.inputs import bots
from tests.native import DECODERS, TOPICS, decode_login, decode_session

AT_MS = 1_704_067_200_000  # 2024-01-01T00:00Z
STEP = {"user_id": "ann", "event_time": AT_MS, "type": "page_view"}
SUMMARY = {
    **STEP,
    "type": "summary",
    "session_id": "s1",
    "started_at": AT_MS - 5_000,
    "ended_at": AT_MS,
    "page_views": 3,
}
LOGIN = {"user_id": "ann", "event_time": AT_MS}
COMPLETE = {
    "sessions": STEP,
    "logins": LOGIN,
    "surveys": {**LOGIN, "response_id": "r", "kind": "nps", "score": 9},
    "accounts": {**LOGIN, "type": "signed_up"},
    "orders": {**LOGIN, "type": "paid", "order_id": "o", "amount": "9.99", "currency": "EUR"},
    "reviews": {**LOGIN, "review_id": "r", "stars": 4},
    "features": {**LOGIN, "feature": "search"},
    "contacts": {**LOGIN, "type": "opened", "conversation_id": "c"},
    "social": {**LOGIN, "type": "like", "network": "mastodon"},
}


def refusal(topic: str, value: bytes | dict[str, Any]) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as raised:
        DECODERS[topic](value if isinstance(value, bytes) else msgspec.json.encode(value))
    return raised.value.reason, str(raised.value)


def step(**fields: object) -> Step:
    decoded = decode_session(msgspec.json.encode({**STEP, **fields}))
    assert isinstance(decoded, Step)
    return decoded


def summary(**fields: object) -> Summary:
    decoded = decode_session(msgspec.json.encode({**SUMMARY, **fields}))
    assert isinstance(decoded, Summary)
    return decoded


def login(**fields: object) -> Login:
    return decode_login(msgspec.json.encode({**LOGIN, **fields}))


# -- who --------------------------------------------------------------------------------------------------------------


def test_a_user_is_the_user_id_trimmed_and_in_normal_form_c() -> None:
    assert login(user_id=" ann\n").user == "ann"
    assert login(user_id=normalize("NFD", "zoë")).user == login(user_id="zoë").user == "zoë"
    assert login(user_id="0").user == "0"


def test_an_anonymous_id_counts_only_without_user_id_and_is_another_user() -> None:
    anonymous = login(user_id=None, anonymous_id=" ann ")

    assert login(anonymous_id="device").user == "ann"
    assert anonymous.user != "ann"
    assert anonymous.user == user_of(None, "ann")
    assert partition_key(anonymous.user) == partition_key("ann") == b"ann"


def test_a_whole_number_is_an_id_like_its_text() -> None:
    assert login(user_id=42).user == login(user_id="42").user == "42"
    assert login(user_id=0).user == "0"
    assert login(user_id=None, anonymous_id=7).user == login(user_id=None, anonymous_id="7").user
    assert login(user_id=10**30).user == "1" + "0" * 30
    assert step(session_id=42).session_id == step(session_id=" 42\n").session_id == "42"
    assert step(event_id=7).identity == step(event_id="7").identity != step().identity
    for odd in (4.5, 42.0, True, ["ann"]):
        assert refusal("logins", {**LOGIN, "user_id": odd})[0] is Reason.WRONG_TYPE


PLACEHOLDERS = (
    *("", "  ", "null", "NULL", " undefined ", "anonymous", "none", "nil", "NaN", "guest", "true", "[object Object]"),
    *("00000000-0000-0000-0000-000000000000", "0" * 32),
)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_is_nobody(placeholder: str) -> None:
    told = f"tells no user: {placeholder!r} at `$.user_id` is a placeholder, no `$.anonymous_id`"

    assert refusal("logins", {**LOGIN, "user_id": placeholder}) == (Reason.BAD_USER, told)
    told = f"tells no user: no `$.user_id`, {placeholder!r} at `$.anonymous_id` is a placeholder"
    assert refusal("logins", {"event_time": AT_MS, "anonymous_id": placeholder}) == (Reason.BAD_USER, told)
    both = {**LOGIN, "user_id": placeholder, "anonymous_id": "null"}
    told = (
        f"tells no user: {placeholder!r} at `$.user_id` is a placeholder, 'null' at `$.anonymous_id` is a placeholder"
    )
    assert refusal("logins", both) == (Reason.BAD_USER, told)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_beside_a_placeholder_the_other_id_counts(placeholder: str) -> None:
    assert login(user_id=placeholder, anonymous_id="device").user == user_of(None, "device")
    assert login(user_id="ann", anonymous_id=placeholder).user == "ann"


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_names_no_session(placeholder: str) -> None:
    assert step(session_id=placeholder).session_id is None
    expected = Reason.MISSING_FIELD, "a session summary needs `$.session_id`"
    assert refusal("sessions", {**SUMMARY, "session_id": placeholder}) == expected


def test_no_id_can_pass_for_that_of_an_anonymous_user() -> None:
    assert login(user_id="\x1fann").user == "ann"  # a control character that trimming takes away
    assert login(user_id="ann\x1f").user == "ann"


def test_an_id_has_at_most_512_characters() -> None:
    assert login(user_id="x" * 512).user == "x" * 512
    told = "`$.user_id` has 513 characters, 512 are allowed"
    assert refusal("logins", {**LOGIN, "user_id": "x" * 513}) == (Reason.BAD_USER, told)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_message_needs_a_user_and_a_time(topic: str) -> None:
    complete = COMPLETE[topic]
    without_user = {name: value for name, value in complete.items() if name != "user_id"}
    without_time = {name: value for name, value in complete.items() if name != "event_time"}

    told = "needs `$.user_id` or `$.anonymous_id`"
    assert refusal(topic, without_user) == (Reason.MISSING_FIELD, told)
    told = "Object missing required field `event_time`"
    assert refusal(topic, without_time) == (Reason.MISSING_FIELD, told)


CUT = {b"\\ud83c": "an unpaired surrogate", b"\xf0\x9f\x8e": "bytes that are no UTF-8"}


@pytest.mark.parametrize("cut", CUT, ids=CUT.values())
def test_text_cut_in_the_middle_of_a_character_has_a_replacement_there(cut: bytes) -> None:
    told = decode_login(
        b'{"user_id":"ann","event_time":%d,"platform":"tv %s","user_agent":"%s bot"}' % (AT_MS, cut, cut)
    )

    assert told == login(platform="tv \ufffd", user_agent="\ufffd bot")
    assert told.segments[0] == "tv \ufffd"
    assert told.is_bot


@pytest.mark.parametrize("cut", CUT, ids=CUT.values())
def test_an_id_cut_in_the_middle_of_a_character_is_refused_for_it_may_be_anothers(cut: bytes) -> None:
    def message(field: str) -> bytes:
        others = {name: value for name, value in LOGIN.items() if name != field}
        return msgspec.json.encode(others)[:-1] + b',"%s":"ann %s"}' % (field.encode(), cut)

    told = "'ann \ufffd' at `$.{}` is cut in the middle of a character"
    assert refusal("logins", message("user_id")) == (Reason.BAD_USER, told.format("user_id"))
    assert refusal("logins", message("event_id")) == (Reason.WRONG_TYPE, told.format("event_id"))
    without_user = message("anonymous_id").replace(b'"user_id":"ann"', b'"user_id":"null"')
    assert refusal("logins", without_user) == (Reason.BAD_USER, told.format("anonymous_id"))
    assert decode_login(message("anonymous_id")) == login()


def test_an_id_that_was_sent_with_a_replacement_character_is_an_id() -> None:
    sent = b'{"user_id":"ann \\ufffd","event_time":%d,"x":"\\ud83c"}' % AT_MS
    escaped = b'{"user_id":"ann \\\\ufffd","event_time":%d,"x":"\\ud83c"}' % AT_MS

    assert decode_login(sent).user == "ann \ufffd"
    assert decode_login(b'{"user_id":"ann \\ufffd","event_time":"%d"}' % AT_MS).user == "ann \ufffd"
    assert decode_login(escaped).user == "ann \\ufffd"


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "time",
    [
        *(AT_MS, AT_MS // 1_000, AT_MS * 1_000, AT_MS / 1_000),
        *("2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00", "2024-01-01T00:00Z"),
        *("20240101T000000Z", "2023-12-31T19-05", "2023-12-31T24:00:00Z", "1704067200", "1704067200000"),
    ],
)
def test_a_time_is_read_from_iso_8601_or_an_epoch_number(time: float | str) -> None:
    assert login(event_time=time).at_ms == AT_MS
    assert summary(event_time=AT_MS + 7, ended_at=time).at_ms == AT_MS
    assert summary(event_time=time, started_at=time).started_ms == AT_MS


def test_less_than_a_millisecond_is_cut_off() -> None:
    for time in ("2024-01-01T00:00:00.007999Z", "20240101T000000.007999Z", AT_MS * 1_000 + 7_999):
        assert login(event_time=time).at_ms == AT_MS + 7
    last_tick = "2023-12-31T23:59:59.9999999Z"  # of a day in .NET; rounded it would be the next day
    assert login(event_time=last_tick).at_ms == AT_MS - 1
    for event_time in (AT_MS, last_tick):
        told = summary(event_time=event_time, started_at="2023-12-31T23:59:58.9999999Z", ended_at=last_tick)
        assert (told.started_ms, told.at_ms) == (AT_MS - 1_001, AT_MS - 1)


@pytest.mark.parametrize("field", ["event_time", "started_at", "ended_at"])
@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("2024-01-01T00:00:00", "'2024-01-01T00:00:00' at `$.{}` is no ISO 8601 time with an offset"),
        ("yesterday", "'yesterday' at `$.{}` is no ISO 8601 time with an offset"),
        ("170406720", "'170406720' at `$.{}` is no ISO 8601 time with an offset"),
        ("1969-12-31T23:59:59Z", "1969-12-31 23:59:59+00:00 at `$.{}` is not between 1970 and 9999"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31 23:59:59.999000+00:00 at `$.{}` is not between 1970 and 9999"),
        ("19691231T235959Z", "19691231T235959Z at `$.{}` is not between 1970 and 9999"),
        ("9999-12-31T23:59:59-01:00", "9999-12-31 23:59:59-01:00 at `$.{}` is not between 1970 and 9999"),
        ("99991231T235959-01", "99991231T235959-01 at `$.{}` is not between 1970 and 9999"),
        (170_406_720, "170406720 at `$.{}` has not 10 (s), 13 (ms) or 16 (us) digits"),
        (17_040_672_000, "17040672000 at `$.{}` has not 10 (s), 13 (ms) or 16 (us) digits"),
        (-1_704_067_200, "-1704067200 at `$.{}` has not 10 (s), 13 (ms) or 16 (us) digits"),
        (0, "0 at `$.{}` has not 10 (s), 13 (ms) or 16 (us) digits"),
    ],
)
def test_a_time_nobody_can_be_sure_of_is_refused(field: str, time: float | str, told: str) -> None:
    assert refusal("sessions", {**SUMMARY, field: time}) == (Reason.BAD_TIME, told.format(field))


@pytest.mark.parametrize("time", [True, [], {}])
def test_a_time_of_another_type_is_refused(time: object) -> None:
    reason, told = refusal("logins", {**LOGIN, "event_time": time})

    assert reason is Reason.BAD_TIME
    assert told.endswith("at `$.event_time`")


def test_the_slow_way_in_refuses_for_the_same_reasons() -> None:
    odd = {**STEP, "event_time": "20240101T000000Z"}

    assert refusal("sessions", {**odd, "type": "datetime"})[0] is Reason.UNKNOWN_VALUE
    assert refusal("sessions", {**SUMMARY, "event_time": odd["event_time"], "started_at": True})[0] is Reason.BAD_TIME
    assert refusal("sessions", {**odd, "engaged_ms": "5"})[0] is Reason.WRONG_TYPE
    assert refusal("sessions", b'{"event_time":"20240101T000000Z","type":"end","user_id":"\xff"}')[0] is Reason.BAD_USER
    assert refusal("sessions", b'{"event_time":"20240101T000000Z","\xff":1}')[0] is Reason.MISSING_FIELD


# -- sessions and logins ----------------------------------------------------------------------------------------------


def test_a_step_says_what_it_was() -> None:
    full = step(session_id="s1", engaged_ms=0, key_event=True, interactive=False, is_bot=True)

    assert (full.session_id, full.engaged_ms, full.is_key_event, full.is_interactive) == ("s1", 0, True, False)
    assert full.is_bot
    plain = step()
    assert (plain.session_id, plain.engaged_ms, plain.is_key_event, plain.is_interactive) == (None, None, False, True)
    assert not plain.is_bot
    assert [step(type=kind).is_view for kind in ("page_view", "screen_view", "event")] == [True, True, False]
    assert [step(type=kind).is_end for kind in ("end", "start", "heartbeat")] == [True, False, False]


def test_the_same_step_has_the_same_identity_and_no_other_has() -> None:
    base = step(event_id="e1")

    assert step(event_id="e1").identity == base.identity
    assert step(event_id="e1", engaged_ms=5).identity != base.identity
    assert step(event_id="e1", key_event=True).identity != base.identity
    assert step(event_id="e1", interactive=False).identity != base.identity
    assert step(event_id="e1", in_session=False).identity != base.identity
    assert len({step(event_id="e1", prompted=said).identity for said in (True, False, None)}) == 3
    others = [step(), step(event_id="e2"), step(event_id="e1", event_time=AT_MS + 1), step(event_id="e1", type="end")]
    assert len({base.identity, *(other.identity for other in others)}) == 5


def test_a_summary_tells_a_whole_session() -> None:
    told = summary(key_events=2, engaged_ms=4_000, revision=7)

    assert (told.session_id, told.started_ms, told.at_ms) == ("s1", AT_MS - 5_000, AT_MS)
    assert (told.page_views, told.key_events, told.engaged_ms, told.revision) == (3, 2, 4_000, 7)
    told = summary(started_at=AT_MS, page_views=0)
    assert (told.page_views, told.key_events, told.engaged_ms, told.revision) == (0, 0, None, 0)


@pytest.mark.parametrize("field", ["session_id", "started_at", "ended_at", "page_views"])
def test_a_summary_needs_its_session_its_times_and_its_views(field: str) -> None:
    missing = {name: value for name, value in SUMMARY.items() if name != field}

    expected = Reason.MISSING_FIELD, f"a session summary needs `$.{field}`"
    assert refusal("sessions", missing) == expected
    assert refusal("sessions", {**SUMMARY, field: None}) == expected
    if field == "session_id":
        assert refusal("sessions", {**SUMMARY, field: ""}) == expected


def test_a_session_can_end_when_it_starts_but_not_before() -> None:
    assert summary(started_at=AT_MS).started_ms == AT_MS
    ends = "ended_at 2024-01-01T00:00:00Z is before started_at 2024-01-01T00:00:00.001Z"
    told = f"a session can't end before it starts: {ends}"
    assert refusal("sessions", {**SUMMARY, "started_at": AT_MS + 1}) == (Reason.OUT_OF_RANGE, told)


@pytest.mark.parametrize(
    ("field", "value", "reason", "told"),
    [
        ("type", "click", Reason.UNKNOWN_VALUE, "Invalid enum value 'click' - at `$.type`"),
        ("type", "datetime", Reason.UNKNOWN_VALUE, "Invalid enum value 'datetime' - at `$.type`"),
        ("type", 1, Reason.WRONG_TYPE, "Expected `str`, got `int` - at `$.type`"),
        ("session_id", 1.5, Reason.WRONG_TYPE, "Expected `int | str | null`, got `float` - at `$.session_id`"),
        ("in_session", 1, Reason.WRONG_TYPE, "Expected `bool | null`, got `int` - at `$.in_session`"),
        ("prompted", "push", Reason.WRONG_TYPE, "Expected `bool | null`, got `str` - at `$.prompted`"),
        ("engaged_ms", -1, Reason.OUT_OF_RANGE, "Expected `int` >= 0 - at `$.engaged_ms`"),
        ("engaged_ms", DAY_MS + 1, Reason.OUT_OF_RANGE, f"Expected `int` <= {DAY_MS} - at `$.engaged_ms`"),
        ("engaged_ms", -0.6, Reason.OUT_OF_RANGE, "Expected `float` >= -0.5 - at `$.engaged_ms`"),
        ("engaged_ms", "5", Reason.WRONG_TYPE, "Expected `int | float | null`, got `str` - at `$.engaged_ms`"),
        ("key_event", "yes", Reason.WRONG_TYPE, "Expected `bool | null`, got `str` - at `$.key_event`"),
        ("interactive", 0, Reason.WRONG_TYPE, "Expected `bool | null`, got `int` - at `$.interactive`"),
        ("user_id", 7.5, Reason.WRONG_TYPE, "Expected `int | str | null`, got `float` - at `$.user_id`"),
        ("event_id", True, Reason.WRONG_TYPE, "Expected `int | str | null`, got `bool` - at `$.event_id`"),
        ("is_bot", 1, Reason.WRONG_TYPE, "Expected `bool | null`, got `int` - at `$.is_bot`"),
        ("user_agent", 1, Reason.WRONG_TYPE, "Expected `str | null`, got `int` - at `$.user_agent`"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(field: str, value: object, reason: Reason, told: str) -> None:
    assert refusal("sessions", {**STEP, field: value}) == (reason, told)


@pytest.mark.parametrize(
    ("field", "value", "reason", "told"),
    [
        ("page_views", 1_000_001, Reason.OUT_OF_RANGE, "Expected `int` <= 1000000 - at `$.page_views`"),
        ("key_events", -1, Reason.OUT_OF_RANGE, "Expected `int` >= 0 - at `$.key_events`"),
        ("revision", -1, Reason.OUT_OF_RANGE, "Expected `int` >= 0 - at `$.revision`"),
    ],
)
def test_a_wrong_field_of_a_summary_is_named_with_its_place(
    field: str, value: object, reason: Reason, told: str
) -> None:
    assert refusal("sessions", {**SUMMARY, field: value}) == (reason, told)


ANYTHING: list[object] = [None, True, -1, 1.5, 10**30, "", "x", [], {"a": [{}]}]


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_what_a_field_holds_that_the_message_has_no_use_for_does_not_matter(value: object) -> None:
    for name in ("started_at", "ended_at", "page_views", "key_events", "revision"):
        assert step(**{name: value}) == step()
    for name in ("key_event", "interactive", "in_session"):
        assert summary(**{name: value}) == summary()


def test_engaged_time_is_rounded_to_milliseconds() -> None:
    assert step(engaged_ms=1_500.4) == step(engaged_ms=1_500)
    assert step(engaged_ms=1_500.6) == step(engaged_ms=1_501)
    assert step(engaged_ms=-0.4) == step(engaged_ms=0)
    assert step(engaged_ms=DAY_MS + 0.4) == step(engaged_ms=DAY_MS)
    assert summary(engaged_ms=1_500.4) == summary(engaged_ms=1_500)


def test_a_day_of_engaged_time_and_the_largest_revision_still_count() -> None:
    assert step(engaged_ms=DAY_MS).engaged_ms == DAY_MS
    assert summary(revision=2**63 - 1).revision == 2**63 - 1
    assert refusal("sessions", {**SUMMARY, "revision": 2**63})[0] is Reason.OUT_OF_RANGE


def test_a_login_succeeds_unless_it_says_otherwise() -> None:
    assert login().success
    assert not login(success=False).success
    assert login(success=False).identity != login().identity
    told = "Expected `bool | null`, got `str` - at `$.success`"
    assert refusal("logins", {**LOGIN, "success": "no"}) == (Reason.WRONG_TYPE, told)


def test_who_says_so_or_names_a_crawler_is_a_bot() -> None:
    assert login(is_bot=True).is_bot
    assert login(user_agent="Mozilla/5.0 (compatible; Googlebot/2.1)").is_bot
    assert login(user_agent="curl/8.0").is_bot
    assert not login(user_agent="Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0").is_bot
    assert not login(user_agent="Mozilla/5.0 (Linux; Android 11; CUBOT X30)").is_bot  # a telephone
    assert login(is_bot=False, user_agent="AhrefsBot/7.0").is_bot


def test_what_is_remembered_of_ids_and_user_agents_does_not_grow_for_ever() -> None:
    for number in range(200_001):
        user_of(f"user-{number}", None)
    for number in range(10_001):
        login(user_agent=f"agent {number}")

    assert len(users.users_by_id) <= 50_000
    assert len(bots._cache) <= 10_000
    assert login(user_id=" user-7 ").user == "user-7"
    assert login(user_agent="Googlebot").is_bot
    assert login(user_agent="Googlebot").is_bot


def test_null_is_as_good_as_absent_in_an_optional_field() -> None:
    assert step(key_event=None, interactive=None, is_bot=None, engaged_ms=None, session_id=None) == step()
    assert login(success=None, user_agent=None) == login()
    assert summary(key_events=None, revision=None, engaged_ms=None) == summary()
