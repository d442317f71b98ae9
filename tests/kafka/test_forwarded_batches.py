"""Events that are forwarded together arrive as they were, each with the record that it was read from, and count once.

Messages of the version before are read, and a worker of that version stops at these instead of losing their events.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.agents.forwarded_events import ForwardedEvents
from stream.core.account_changes import Change
from stream.core.events import AccountChange, Answer, Event, FeatureUsed, Login, SignUps, Step, Summary
from stream.core.families.contacts.messages import ConversationChanged
from stream.core.families.contacts.part import Message as ContactTold
from stream.core.families.orders.messages import Paid
from stream.core.families.orders.part import Version
from stream.core.families.registry import events, families
from stream.core.families.reviews.messages import ReviewWritten
from stream.core.families.reviews.part import Version as ReviewVersion
from stream.core.families.social.messages import AudienceCounted, Interacted
from stream.core.families.social.part import Interaction
from stream.core.partition.batch_reader import Misplaced
from stream.core.privacy import PrivacyRequested, Request
from stream.core.rules import Rules
from stream.core.segments import NO_ATTRIBUTES, attribute_values_of
from stream.core.survey_scales import SCALES, Kind, Status
from stream.kafka.forwarded_batches import (
    LARGEST_KEY_AND_HEADERS,
    ForwardedBatch,
    ForwardedRecord,
    UnknownForwardedFormat,
    batches,
    encode_misplaced,
    forwarded_batch_reader,
)
from stream.kafka.headers import Headers, Origin, Replay, replay_headers

KIB = 1024
MAX_BYTES = 1024 * KIB

TYPES = events(families(Rules()))
read = forwarded_batch_reader(TYPES)

texts = st.text(max_size=12)
times = st.integers(0, 1 << 42)
segments = st.just(NO_ATTRIBUTES) | st.builds(
    attribute_values_of, st.tuples(*[st.sampled_from([None, "web", "pro", "DE", "1.10"])] * 4)
)
some_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        Step,
        texts,
        times,
        st.booleans(),
        st.integers(0, (1 << 64) - 1),
        st.none() | texts,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.none() | st.booleans(),
        st.none() | st.integers(0, 1 << 40),
        segments,
        st.booleans(),
    ),
    st.builds(Login, texts, times, st.booleans(), st.integers(0, (1 << 64) - 1), st.booleans(), segments),
    st.builds(
        Summary,
        texts,
        times,
        st.booleans(),
        texts,
        times,
        st.integers(0, 99),
        st.integers(0, 99),
        st.none() | times,
        st.integers(0, 9),
        st.none() | st.booleans(),
        segments,
        st.booleans(),
    ),
    st.builds(
        Answer,
        texts,
        times,
        st.booleans(),
        texts,
        st.sampled_from(Kind),
        st.sampled_from(Status),
        st.none() | st.integers(0, 10),
        st.sampled_from([*SCALES.values()]),
        st.none() | st.tuples(*[st.integers(1, 5)] * 4),
        st.none() | texts,
        st.none() | texts,
        segments,
    ),
)
contents = st.none() | st.binary(max_size=40)
header_lists = st.lists(st.tuples(st.sampled_from(["trace", "origin-topic", "forwarded-format"]), contents), max_size=3)
records = st.builds(
    lambda offset, timestamp, key, value, headers: record(offset, key, value, headers, timestamp=timestamp),
    st.integers(0, 1 << 50),
    st.integers(-1, 1 << 42),
    contents,
    contents,
    header_lists,
)
misplaced_events = st.builds(
    lambda record, event, index: Misplaced(record, event.user, event, index),
    records,
    some_events,
    st.none() | st.integers(0, 1_000),
)


def record(
    offset: int, key: bytes | None, value: bytes | None, headers: Iterable[Any] = (), *, timestamp: int = 0
) -> Any:
    return ConsumerRecord("logins", 1, offset, timestamp, 0, key, value, None, 0, 0, tuple(headers))


def login(user: str, at_ms: int = 0) -> Login:
    return Login(user, at_ms, False, 7, True, NO_ATTRIBUTES)


def messages(
    misplaced: Iterable[Misplaced], *, max_bytes: int = MAX_BYTES, saved: int = 0
) -> list[tuple[bytes, Headers]]:
    """The messages that go to one partition."""
    items = [encode_misplaced(one, "logins", 1, max_bytes=max_bytes) for one in misplaced]
    return list(batches(items, "logins", 1, checkpointed_offset=saved))


def arrived(sent: tuple[bytes, Headers], offset: int = 99) -> ForwardedBatch:
    """A message as it is read from the re-key topic."""
    batch = read(record(offset, None, *sent))
    assert batch is not None
    return batch


def forwarded(misplaced: Misplaced, *, max_bytes: int = MAX_BYTES) -> ForwardedRecord[Any]:
    (sent,) = messages([misplaced], max_bytes=max_bytes)
    return arrived(sent).records[0]


@given(st.lists(misplaced_events, max_size=9), st.integers(0, 1 << 40))
def test_events_arrive_in_their_order_as_they_were_with_what_their_letters_need(
    sent: list[Misplaced], saved: int
) -> None:
    told = [arrived(one) for one in messages(sent, saved=saved)]
    assert all((batch.topic, batch.partition, batch.checkpointed_offset) == ("logins", 1, saved) for batch in told)
    found = [one for batch in told for one in batch.records]

    assert [one.event for one in found] == [one.event for one in sent]
    for one, misplaced in zip(found, sent, strict=True):
        theirs = misplaced.record
        assert (one.partition, one.offset, one.timestamp) == (1, theirs.offset, theirs.timestamp)
        assert one.event_index == (misplaced.event_index or 0)
        assert one.is_complete == (misplaced.event_index is None or theirs.value is None)
        if one.is_complete:
            assert (one.key, one.value, tuple(one.headers)) == (theirs.key, theirs.value, tuple(theirs.headers))
        else:  # of its message other parts are forwarded elsewhere: its letter says where the message is
            assert (one.key, one.value, one.headers) == (None, None, [])


@given(st.lists(st.integers(0, 300 * KIB), max_size=12))
def test_a_message_is_no_larger_than_a_batch_may_be_unless_one_event_is(sizes: list[int]) -> None:
    sent = [
        Misplaced(record(place, b"ann", b"x" * size), "ann", login("ann"), None) for place, size in enumerate(sizes)
    ]
    told = messages(sent)

    found = [arrived(one) for one in told]
    assert [one.offset for batch in found for one in batch.records] == list(range(len(sizes)))
    for (value, _), batch in zip(told, found, strict=True):
        assert len(value) <= 257 * KIB or len(batch.records) == 1
    for (value, _), (following, _), batch in zip(told, told[1:], found[1:], strict=False):
        # None is sent that would have had room in the one before.
        assert len(value) + len(following) // len(batch.records) >= 200 * KIB or len(following) > 50 * KIB


def test_a_record_that_has_no_room_stays_where_it_is_and_its_attempts_are_kept() -> None:
    replayed = replay_headers(Replay(2, Origin("logins", 3, 2, 0)))
    large = "x" * (LARGEST_KEY_AND_HEADERS + 1)
    for one in (
        record(7, b"ann", b"x" * 2_000, replayed),
        record(7, large.encode(), b"x", replayed),
        record(7, b"ann", b"x", [("trace", large.encode()), *replayed]),
    ):
        found = forwarded(Misplaced(one, "ann", login("ann"), None), max_bytes=1_500)

        assert (found.event, found.is_complete) == (login("ann"), False)
        assert (found.key, found.value, found.headers) == (None, None, replayed)
        assert (found.partition, found.offset) == (1, 7)


def test_forwarded_events_of_the_same_segments_share_them_as_those_that_are_read_here() -> None:
    here = attribute_values_of(("web", "pro", None, None))
    sent = [Misplaced(record(n, b"a", b"{}"), "ann", Login("ann", n, False, n, True, here), None) for n in range(2)]

    found: list[Any] = [one.event for batch in map(arrived, messages(sent)) for one in batch.records]
    assert found[0].segments == here
    assert found[0].segments is found[1].segments


# -- other versions ------------------------------------------------------------------------------------------------

# What is on its way while workers are updated one by one, so that one version reads what another has written: a field
# has a place and no name. A field more comes last and has a default value, and a place is never used for another
# thing; older workers pass over what they do not know. Whatever else changes needs a new number in the header
# `forwarded-format`, at which older workers stop, and the old form must still be read.
WIRE: dict[str, list[Any]] = {
    "AccountChange": ["AccountChange", "ann", 1, False, "cancelled", "", 2, ["web", "pro", "DE", "1.10"]],
    "Answer": [
        *("Answer", "ann", 1, False, "r-1", "cxi", "partial", None, [1, 5], [5, 4, 3, 2], "i-1", "ref"),
        ["web", "pro", "DE", "1.10"],
    ],
    "AudienceCounted": ["AudienceCounted", "ann", 1, False, "mastodon", 7, None],
    "ConversationChanged": ["ConversationChanged", "ann", 1, False, "c-1", [1, 3, "chat", True]],
    "FeatureUsed": ["FeatureUsed", "ann", 1, False, 7, "search", False, ["web", "pro", "DE", "1.10"]],
    "Interacted": [
        *("Interacted", "ann", 1, False, "like mastodon p-1", [1, True, "like", "mastodon", "positive"]),
    ],
    "Login": ["Login", "ann", 1, False, 7, True, ["web", "pro", "DE", "1.10"]],
    "Paid": ["Paid", "ann", 1, False, "o-1", "f-1", [1, 1099, "EUR", 300, "renewal"]],
    "ReviewWritten": ["ReviewWritten", "ann", 1, False, "v-1", [1, False, 4]],
    "PrivacyRequested": ["PrivacyRequested", "ann", 1, False, "anonymise", True],
    "SignUps": ["SignUps", "ann", 1, False, [2, 3]],
    "Step": [
        *("Step", "ann", 1, False, 7, "s-1", True, False, True, False, True, None, 900),
        ["web", "pro", "DE", "1.10"],
        True,
    ],
    "Summary": [
        *("Summary", "ann", 9, False, "s-1", 1, 2, 3, 900, 4, True, ["web", "pro", "DE", "1.10"]),
        True,
    ],
}
WIRE_HEADERS: Headers = [
    ("origin-topic", b"logins"),
    ("origin-partition", b"1"),
    ("origin-offset", b"4611686018427387904"),
    ("origin-saved", b"5"),
    ("origin-thing", b"0"),
    ("forwarded-format", b"1"),
]
_OF = attribute_values_of(("web", "pro", "DE", "1.10"))
EVENTS: dict[str, Event] = {
    "AccountChange": AccountChange(
        user="ann", at_ms=1, is_bot=False, change=Change.CANCELLED, step="", effective_ms=2, segments=_OF
    ),
    "Answer": Answer(
        user="ann",
        at_ms=1,
        is_bot=False,
        response_id="r-1",
        kind=Kind.CXI,
        status=Status.PARTIAL,
        score=None,
        scale=SCALES[Kind.CXI],
        cxi_scores=(5, 4, 3, 2),
        interaction_id="i-1",
        name="ref",
        segments=_OF,
    ),
    "AudienceCounted": AudienceCounted(user="ann", at_ms=1, is_bot=False, network="mastodon", followers=7, reach=None),
    "ConversationChanged": ConversationChanged(
        user="ann",
        at_ms=1,
        is_bot=False,
        conversation_id="c-1",
        told=ContactTold(at_ms=1, type=3, channel="chat", is_outbound=True),
    ),
    "FeatureUsed": FeatureUsed(
        user="ann", at_ms=1, is_bot=False, identity=7, feature="search", is_interactive=False, segments=_OF
    ),
    "Interacted": Interacted(
        user="ann",
        at_ms=1,
        is_bot=False,
        thing="like mastodon p-1",
        version=Interaction(at_ms=1, is_undone=True, kind="like", network="mastodon", sentiment="positive"),
    ),
    "Login": Login(user="ann", at_ms=1, is_bot=False, identity=7, success=True, segments=_OF),
    "Paid": Paid(
        user="ann",
        at_ms=1,
        is_bot=False,
        order_id="o-1",
        refund_id="f-1",
        version=Version(at_ms=1, amount=1099, currency="EUR", margin=300, kind="renewal"),
    ),
    "ReviewWritten": ReviewWritten(
        user="ann", at_ms=1, is_bot=False, review_id="v-1", version=ReviewVersion(at_ms=1, is_removed=False, stars=4)
    ),
    "PrivacyRequested": PrivacyRequested(user="ann", at_ms=1, is_bot=False, request=Request.ANONYMISE, is_told=True),
    "SignUps": SignUps(user="ann", at_ms=1, is_bot=False, signed_up_ms=(2, 3)),
    "Step": Step(
        user="ann",
        at_ms=1,
        is_bot=False,
        identity=7,
        session_id="s-1",
        is_view=True,
        is_end=False,
        is_key_event=True,
        is_interactive=False,
        in_session=True,
        prompted=None,
        engaged_ms=900,
        segments=_OF,
        is_custom=True,
    ),
    "Summary": Summary(
        user="ann",
        at_ms=9,
        is_bot=False,
        session_id="s-1",
        started_ms=1,
        page_views=2,
        key_events=3,
        engaged_ms=900,
        revision=4,
        prompted=True,
        segments=_OF,
        start_is_late=True,
    ),
}


def test_each_type_of_events_has_its_form_on_the_way_written_down() -> None:
    assert TYPES.keys() == WIRE.keys() == EVENTS.keys()


@pytest.mark.parametrize("name", WIRE)
def test_the_form_in_which_an_event_is_forwarded_does_not_change(name: str) -> None:
    sent = Misplaced(record(8, b"device", b"{}", [("trace", b"t")], timestamp=17), "ann", EVENTS[name], None)
    ((value, headers),) = messages([sent], saved=5)

    told, batch = msgspec.msgpack.decode(value)
    assert told == "forwarded by a newer version of engagement: update this worker too"
    assert batch == ["logins", 1, 5, [[WIRE[name], 1, 8, 0, 17, b"device", b"{}", [["trace", b"t"]], True]]]
    assert headers == WIRE_HEADERS


@pytest.mark.parametrize("name", WIRE)
@pytest.mark.parametrize("more", [(), ("a field of a later version",)])
def test_what_is_on_its_way_while_a_worker_is_updated_is_read_as_it_was_meant(name: str, more: tuple[str, ...]) -> None:
    item = [[*WIRE[name], *more], 1, 8, 2, 17, b"device", None, [], False, *more]
    value = msgspec.msgpack.encode(["", ["logins", 1, 5, [item]]])

    batch = read(record(99, None, value, WIRE_HEADERS))
    assert batch is not None
    assert batch[:3] == ("logins", 1, 5)
    assert batch.records == [ForwardedRecord(EVENTS[name], 1, 8, 2, 17, b"device", None, [], False)]


def headers_of_the_version_before(**more: bytes | None) -> Headers:
    """The headers of a message with one event, as the version before wrote them."""
    origin = {"origin-topic": b"logins", "origin-partition": b"3", "origin-offset": b"8", "origin-timestamp": b"17"}
    return [*{**origin, "origin-saved": b"5", **more}.items()]


def test_a_record_that_the_version_before_has_forwarded_as_it_was_is_read() -> None:
    theirs = [("trace", b"t"), ("origin-offset", b"theirs")]
    headers = [*theirs, *headers_of_the_version_before(**{"origin-key": b"device"})]

    batch = read(record(99, b"ann", b"{}", headers))

    assert batch is not None
    assert batch[:3] == ("logins", 3, 5)
    assert batch.records == [ForwardedRecord(None, 3, 8, 0, 17, b"device", b"{}", theirs, True)]


def test_an_event_that_the_version_before_has_forwarded_is_read() -> None:
    value = msgspec.msgpack.encode(("Login", msgspec.structs.asdict(login("ann"))))
    for more, is_complete in (({"by-reference": b"record"}, False), ({"origin-value": None}, True)):
        batch = read(record(99, b"ann", value, headers_of_the_version_before(**{"origin-thing": b"2", **more})))

        assert batch is not None
        assert batch.records == [ForwardedRecord(login("ann"), 3, 8, 2, 17, b"ann", None, [], is_complete)]


@pytest.mark.parametrize("name", ["origin-topic", "origin-offset", "origin-saved"])
def test_a_record_that_does_not_say_where_it_comes_from_is_none_of_ours(name: str) -> None:
    headers = [header for header in headers_of_the_version_before() if header[0] != name]

    assert read(record(99, b"ann", b"{}", headers)) is None
    assert read(record(99, b"ann", b"{}", headers_of_the_version_before(**{"origin-thing": b"two"}))) is None


def test_what_another_version_has_forwarded_is_not_passed_over() -> None:
    class Played(Event, frozen=True):
        """An event that we do not have."""

    ((value, headers),) = messages([Misplaced(record(1, b"a", b"{}"), "ann", Played("ann", 0, False), None)])
    newer = [(name, b"2" if name == "forwarded-format" else text) for name, text in headers]
    single = msgspec.msgpack.encode(("Played", {}))
    for one, why in (
        (
            record(9, None, value, headers),
            r"offset 9 .* are not readable: Invalid value 'Played' .*\n.*update this worker",
        ),
        (record(9, None, value, newer), r"its events are in format '2'\n"),
        (record(9, None, single, headers_of_the_version_before(**{"origin-thing": b"0"})), "not readable: 'Played'"),
    ):
        with pytest.raises(UnknownForwardedFormat, match=why):
            read(one)


def read_by_the_version_before(record: Any, known: set[int]) -> Event | None:
    """What a worker of the version before does with a record of the re-key topic; None if it passes it over."""
    headers = dict(record.headers)
    try:
        int(headers["origin-partition"])
        place = int(headers["origin-offset"]) * (1 << 20) + int(headers["origin-thing"])
        checkpointed_offset = int(headers["origin-saved"])
        headers["origin-topic"].decode()
    except (KeyError, ValueError):
        return None
    if int(headers["origin-offset"]) < checkpointed_offset or place in known:
        return None
    name, content = msgspec.msgpack.decode(record.value, type=tuple[str, msgspec.Raw])
    return msgspec.msgpack.decode(content, type=TYPES[name])


def test_a_worker_of_the_version_before_stops_and_says_why() -> None:
    ((value, headers),) = messages([Misplaced(record(7, b"a", b"{}"), "ann", login("ann"), None)], saved=1 << 40)

    with pytest.raises(KeyError, match="newer version of engagement: update this worker too"):
        read_by_the_version_before(record(99, None, value, headers), known={7 << 20})


# -- crashes -------------------------------------------------------------------------------------------------------


class Sender:
    """Reads a partition in which every event is misplaced, and forwards it; writes checkpoints and dies."""

    def __init__(self, topic: list[tuple[bytes, Headers]], log: Sequence[Sequence[Misplaced]]) -> None:
        self._topic, self._log = topic, log
        self._position = self._saved = 0
        self._under_way: list[tuple[bytes, Headers]] = []

    def forward(self, count: int) -> None:
        some = self._log[self._position : self._position + count]
        self._under_way += messages([one for events in some for one in events], saved=self._saved)
        self._position += len(some)

    def save(self) -> None:
        self._topic += self._under_way
        self._under_way.clear()
        self._saved = self._position

    def crash(self, arrive: int) -> None:
        self._topic += self._under_way[:arrive]
        self._under_way.clear()
        self._position = self._saved


class Receiver:
    """Counts what is forwarded; writes checkpoints and dies."""

    def __init__(self, topic: list[tuple[bytes, Headers]]) -> None:
        self._topic = topic
        self._known, self._stored = ForwardedEvents(()), dict[bytes, bytes]()
        self._position = self._saved = 0
        self.counted: list[str] = []
        self._saved_counted: list[str] = []

    def count(self, messages: int) -> None:
        for sent in self._topic[self._position : self._position + messages]:
            self.counted += [one.event.user for one in self._known.new_of(arrived(sent)) if one.event is not None]
            self._position += 1

    def save(self) -> None:
        self._stored.update({key: value or b"" for key, value in self._known.collect_delta()})
        self._saved, self._saved_counted = self._position, [*self.counted]

    def crash(self) -> None:
        self._known = ForwardedEvents(sorted(self._stored.items()))
        self._position, self.counted = self._saved, [*self._saved_counted]


steps = st.one_of(
    st.tuples(st.just("forward"), st.integers(1, 6)),
    st.tuples(st.just("sender saves"), st.just(0)),
    st.tuples(st.just("sender dies"), st.integers(0, 3)),
    st.tuples(st.just("count"), st.integers(1, 3)),
    st.tuples(st.just("receiver saves"), st.just(0)),
    st.tuples(st.just("receiver dies"), st.just(0)),
)


@settings(max_examples=300)
@given(st.lists(steps, max_size=40))
def test_whoever_dies_when_every_event_counts_once(told: list[tuple[str, int]]) -> None:
    # Ten messages, of which every second has three events.
    log = [
        [
            Misplaced(record(offset, b"gateway", b"[]"), "", login(f"{offset}/{index}"), index)
            for index in range(1 + 2 * (offset % 2))
        ]
        for offset in range(10)
    ]
    topic: list[tuple[bytes, Headers]] = []
    sender, receiver = Sender(topic, log), Receiver(topic)
    for step, count in told:
        if step == "forward":
            sender.forward(count)
        elif step == "sender saves":
            sender.save()
        elif step == "sender dies":
            sender.crash(count)
        elif step == "count":
            receiver.count(count)
        elif step == "receiver saves":
            receiver.save()
        else:
            receiver.crash()
    sender.forward(len(log))
    sender.save()
    receiver.count(len(topic))

    assert sorted(receiver.counted) == sorted(one.event.user for events in log for one in events)
