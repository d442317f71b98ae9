"""Mixpanel's events, imported, exported or of a pipeline, become steps."""

from typing import Any

import pytest

from stream.core.events import MultipleEvents
from stream.core.rejections import Reason, Rejected
from stream.core.users import ANONYMOUS_PREFIX
from tests.inputs.samples import MIXPANEL, NOON_MS, changed, events_in, reads, steps_in, words_in

read = reads("mixpanel")


def test_a_page_view_is_a_view_without_a_session_id() -> None:
    (step,) = steps_in(read(MIXPANEL))

    assert (step.user, step.at_ms, step.is_view, step.session_id) == ("ada", NOON_MS, True, None)
    assert step.segments == ("web", "pro", "DE", "")


@pytest.mark.parametrize(("time", "at_ms"), [(1795262400.25, NOON_MS + 250), (NOON_MS + 7, NOON_MS + 7)])
def test_times_are_seconds_with_a_fraction_or_milliseconds(time: float, at_ms: int) -> None:
    assert steps_in(read(changed(MIXPANEL, properties__time=time)))[0].at_ms == at_ms


def test_times_of_old_exports_show_the_clocks_of_the_projects_zone() -> None:
    read = reads("mixpanel", zone="America/New_York")

    assert steps_in(read(MIXPANEL))[0].at_ms == NOON_MS + 5 * 3_600_000


@pytest.mark.parametrize(
    ("ids", "user"),
    [
        ({"$user_id": None, "distinct_id": "$device:d-1"}, f"{ANONYMOUS_PREFIX}d-1"),
        ({"$user_id": None, "$device_id": None, "distinct_id": "$device:d-2"}, f"{ANONYMOUS_PREFIX}d-2"),
        ({"$user_id": None, "distinct_id": "d-1"}, f"{ANONYMOUS_PREFIX}d-1"),
        ({"$user_id": None}, "ada"),
        ({"$user_id": "bob", "distinct_id": "$device:d-1"}, "bob"),
        ({"$user_id": "", "distinct_id": "ada"}, "ada"),
    ],
)
def test_the_user_is_the_one_that_was_identified_else_the_device(ids: dict[str, Any], user: str) -> None:
    told = changed(MIXPANEL, **{f"properties__{name}": value for name, value in ids.items()})

    assert steps_in(read(told))[0].user == user


def test_an_event_of_nobody_is_refused() -> None:
    nobody = changed(
        MIXPANEL, **{"properties__$user_id": None, "properties__$device_id": None, "properties__distinct_id": ""}
    )
    with pytest.raises(Rejected, match=r"'' at `\$.properties.distinct_id` is a placeholder") as rejected:
        read(nobody)

    assert rejected.value.reason is Reason.BAD_USER


def test_the_name_is_a_part_of_what_tells_an_event_sent_twice() -> None:
    one, again, renamed, other = (
        steps_in(read(told))[0].identity
        for told in (
            changed(MIXPANEL, event="a"),
            changed(MIXPANEL, event="a", **{"properties__$browser": "other"}),
            changed(MIXPANEL, event="b"),
            changed(MIXPANEL, event="a", **{"properties__$insert_id": "x"}),
        )
    )

    assert one == again
    assert len({one, renamed, other}) == 3


def test_a_pipeline_writes_the_same_on_top() -> None:
    flat = {
        "event_name": "$mp_web_page_view",
        "time": 1795262400,
        "distinct_id": "ada",
        "insert_id": "29fc29626d9c455d95ad",
        "properties": {"mp_lib": "web", "plan": "pro", "mp_country_code": "DE"},
    }

    assert read(flat) == read(MIXPANEL)


def test_an_import_is_a_list_of_which_one_bad_event_costs_only_itself() -> None:
    told = read([MIXPANEL, changed(MIXPANEL, properties__time="soon"), changed(MIXPANEL, event="$identify"), [1]])

    assert isinstance(told, MultipleEvents)
    assert (len(events_in(told)), words_in(told)) == (1, ["identity"])
    assert [(one.event_index, one.reason) for one in told.rejections] == [(1, Reason.BAD_TIME), (2, Reason.WRONG_TYPE)]
    assert told.rejections[0].detail == "at `$[1]`: 'soon' at `$.properties.time` is no ISO 8601 time with an offset"


def test_an_app_session_tells_its_engaged_time_and_an_update_makes_nobody_active() -> None:
    (session,) = steps_in(read(changed(MIXPANEL, event="$ae_session", **{"properties__$ae_session_length": 41.5})))
    (update,) = steps_in(read(changed(MIXPANEL, event="$ae_updated")))

    assert (session.engaged_ms, session.is_view) == (41_500, False)
    assert not update.is_interactive


def test_properties_may_be_arrays_and_objects() -> None:
    assert len(events_in(read(changed(MIXPANEL, properties__plan=["a"], **{"properties__$os": {"x": [1]}})))) == 1
