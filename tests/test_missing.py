"""What a machine lacks is said at the end of a run, with the command that brings it."""

import pytest

from tests.missing import missing, what_is_missing


def skipped(reason: str) -> pytest.TestReport:
    longrepr = ("tests/test_some.py", 1, f"Skipped: {reason}")
    return pytest.TestReport("test", ("test", 1, "test"), {}, "skipped", longrepr, "setup")


def reason_of(what: str) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("ENGAGEMENT_TEST_REQUIRE_KAFKA", raising=False)
        with pytest.raises(pytest.skip.Exception) as skipping:
            missing(what)
    return str(skipping.value)


def test_each_thing_is_named_once_with_the_command_that_brings_all() -> None:
    reports = [skipped(reason_of(what)) for what in ("no `java`", "no Chromium here", "no `java`")]

    *named, command = what_is_missing(reports)

    assert named == ["1 of the tests: no Chromium here", "2 of the tests: no `java`"]
    assert command.startswith("`make test-deps`")


def test_what_is_skipped_for_another_reason_is_not_missing() -> None:
    assert what_is_missing([skipped("needs Python 3.12")]) == []


def test_where_everything_must_be_there_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_TEST_REQUIRE_KAFKA", "1")

    with pytest.raises(pytest.fail.Exception, match="no `java`"):
        missing("no `java`")
