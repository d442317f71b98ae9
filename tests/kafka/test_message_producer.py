"""What is left of a letter where a topic does not take all of it."""

from stream.kafka.headers import Headers
from stream.kafka.message_producer import OutgoingMessage

OURS: Headers = [("reason", b"late"), ("origin-topic", b"logins")]


def test_a_letter_shrinks_to_a_reference_in_two_steps() -> None:
    letter = OutgoingMessage("logins.dlq", 1, b"ann", b"{}", [("trace", None)], [*OURS])

    without_value = letter.smaller()
    assert without_value == letter._replace(value=None, ours=[*OURS, ("by-reference", b"value")])

    reference = without_value.smaller()
    assert reference == OutgoingMessage("logins.dlq", 1, None, None, [], [*OURS, ("by-reference", b"record")])
    assert reference.smaller() is None


def test_ours_come_after_the_headers_of_the_producer() -> None:
    assert OutgoingMessage("logins.dlq", 1, None, b"", [("reason", b"mine")], OURS).headers == [
        ("reason", b"mine"),
        *OURS,
    ]
