"""Ids that are used again: which things of one id an event belongs to, and where they lie."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.reuse import Span, keys_near, of_both, put

PAUSE = 10


def _itself(span: Span) -> Span:
    return span


def told(things: dict[str, Span], name: str, at_ms: int) -> None:
    """One more event of an id."""
    near, span = keys_near(things, name, at_ms, PAUSE, _itself), (at_ms, at_ms)
    for key in near:
        span = of_both(things[key], span)
    put(things, name, span, near, _itself)


def things_of(name: str, times: list[int]) -> dict[str, Span]:
    things: dict[str, Span] = {}
    for at_ms in times:
        told(things, name, at_ms)
    return things


def test_a_pause_of_just_the_length_still_belongs() -> None:
    assert things_of("s", [0, 10]) == {"s": (0, 10)}
    assert things_of("s", [0, 11]) == {"s": (11, 11), "s 0 ": (0, 0)}


def test_what_lies_between_two_things_joins_them() -> None:
    assert things_of("s", [0, 18, 9]) == {"s": (0, 18)}
    assert things_of("s", [0, 18, 40, 9]) == {"s": (40, 40), "s 0 ": (0, 18)}


@given(st.permutations([0, 5, 16, 40, 41, 60, 69, 78, 100]))
def test_in_any_order_the_things_are_the_same_and_the_latest_has_the_id_itself(times: list[int]) -> None:
    things = things_of("s", times)

    assert things == {"s": (100, 100), "s 0 ": (0, 5), "s 16 ": (16, 16), "s 40 ": (40, 41), "s 60 ": (60, 78)}


def test_ids_that_look_alike_have_nothing_to_do_with_one_another() -> None:
    things: dict[str, Span] = {}
    for name in ("s", "s 0", "s 0 5", "t"):
        for at_ms in (0, 50, 100):
            told(things, name, at_ms)

    assert {key: things[key] for key in things if key.startswith("t")} == {
        "t": (100, 100),
        "t 50 ": (50, 50),
        "t 0 ": (0, 0),
    }
    assert len(things) == 12
    assert keys_near(things, "s", 0, PAUSE, _itself) == ["s 0 "]
    assert keys_near(things, "s 0", 0, PAUSE, _itself) == ["s 0 0 "]
