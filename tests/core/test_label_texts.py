"""Which texts of a label are shown, and which are not: a label that the longest window does not know is absent."""

from stream.core.label_texts import NAMED_TEXTS, by_name, names_in


def test_what_the_longest_window_knows_is_shown_and_nothing_else() -> None:
    known = {"chat": 3, "mail": 5}

    assert names_in(known, whole=8) == ["mail", "chat"]
    assert names_in(known, whole=9) == ["mail", "chat", "unknown"]


def test_there_is_other_from_the_first_text_on_that_has_no_name() -> None:
    known = {f"c{number:02}": 1 for number in range(NAMED_TEXTS)}

    assert names_in(known, whole=NAMED_TEXTS) == sorted(known)
    assert names_in({**known, "c99": 0}, whole=NAMED_TEXTS) == [*sorted(known), "other"]
    assert names_in({"other": 1}, whole=1) == ["other"]


def test_a_whole_of_which_nothing_is_known_is_0_and_not_absent() -> None:
    assert names_in({}, whole=0) == ["unknown"]
    assert by_name({}, ["unknown"], whole=0) == {"unknown": 0}


def test_a_shorter_window_has_0_for_what_only_the_longest_one_knows_and_its_names_add_up_to_the_whole() -> None:
    longest = {f"c{number:02}": 2 for number in range(NAMED_TEXTS + 1)}
    names = names_in(longest, whole=50)

    told = by_name({"c00": 1, "c20": 1}, names, whole=4)
    assert {name: count for name, count in told.items() if count} == {"c00": 1, "other": 1, "unknown": 2}
    assert (len(told), sum(told.values())) == (NAMED_TEXTS + 2, 4)
