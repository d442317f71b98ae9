"""Ids that are used again: to which thing with an id an event belongs, and under which key each is stored."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.reuse import TimeSpan, keys_near, of_both, put

PAUSE = 10


def _itself(span: TimeSpan) -> TimeSpan:
    return span


def add(things: dict[str, TimeSpan], name: str, first: int, last: int | None = None) -> None:
    """One more event of an id, or one that tells of two moments."""
    span = first, first if last is None else last
    near = keys_near(things, name, span, PAUSE, _itself)
    for key in near:
        span = of_both(things[key], span)
    put(things, name, span, near, _itself)


def things_of(name: str, times: list[int]) -> dict[str, TimeSpan]:
    things: dict[str, TimeSpan] = {}
    for at_ms in times:
        add(things, name, at_ms)
    return things


def test_a_pause_of_just_the_length_still_belongs() -> None:
    assert things_of("s", [0, 10]) == {"s": (0, 10)}
    assert things_of("s", [0, 11]) == {"s": (11, 11), "s 0 ": (0, 0)}


def test_what_lies_between_two_things_joins_them() -> None:
    assert things_of("s", [0, 18, 9]) == {"s": (0, 18)}
    assert things_of("s", [0, 18, 40, 9]) == {"s": (40, 40), "s 0 ": (0, 18)}


def test_what_begins_within_the_pause_belongs_however_long_it_lasts() -> None:
    things = things_of("s", [0, 40])
    add(things, "s", 10, 29)
    assert things == {"s": (40, 40), "s 0 ": (0, 29)}
    add(things, "s", 29, 35)
    assert things == {"s": (0, 40)}
    add(things, "s", 45, 90)
    assert things == {"s": (0, 90)}


@given(st.permutations([0, 5, 16, 40, 41, 60, 69, 78, 100]))
def test_in_any_order_the_things_are_the_same_and_the_latest_has_the_id_itself(times: list[int]) -> None:
    things = things_of("s", times)

    assert things == {"s": (100, 100), "s 0 ": (0, 5), "s 16 ": (16, 16), "s 40 ": (40, 41), "s 60 ": (60, 78)}


@given(st.permutations([(0, 5), (16, 30), (17, 18), (41, 60), (45, 100), (111, 111)]))
def test_in_any_order_what_lasts_is_divided_in_the_same_way(spans: list[TimeSpan]) -> None:
    things: dict[str, TimeSpan] = {}
    for first, last in spans:
        add(things, "s", first, last)

    assert things == {"s": (111, 111), "s 0 ": (0, 5), "s 16 ": (16, 30), "s 41 ": (41, 100)}


def test_ids_that_look_alike_have_nothing_to_do_with_one_another() -> None:
    things: dict[str, TimeSpan] = {}
    for name in ("s", "s 0", "s 0 5", "t"):
        for at_ms in (0, 50, 100):
            add(things, name, at_ms)

    assert {key: things[key] for key in things if key.startswith("t")} == {
        "t": (100, 100),
        "t 50 ": (50, 50),
        "t 0 ": (0, 0),
    }
    assert len(things) == 12
    assert keys_near(things, "s", (0, 0), PAUSE, _itself) == ["s 0 "]
    assert keys_near(things, "s 0", (0, 0), PAUSE, _itself) == ["s 0 0 "]
