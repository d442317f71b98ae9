"""What holds for every test: whose settings count, and how hard Hypothesis looks for a counterexample."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser

from tests.browser import BrowserMissing, running_browser

# Times say nothing on a machine that others use too. What a run in CI finds must fail again when it is run again.
settings.register_profile(
    "default",
    deadline=None,
    print_blob=True,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
# For a night: make test ARGS="--hypothesis-profile thorough". Tests that ask for a number of examples keep theirs.
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5_000, derandomize=False)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def settings_of_whoever_runs_the_tests() -> Iterator[None]:
    """Left out: an ENGAGEMENT_* variable of the shell is no setting of a test."""
    with pytest.MonkeyPatch.context() as patched:
        for name in os.environ:
            if name.startswith("ENGAGEMENT_") and not name.startswith("ENGAGEMENT_TEST_"):
                patched.delenv(name)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes the browser gets its marker."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


# Of a module: Playwright keeps an event loop running as long as its browser lives, and other tests want their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, shared by the tests of a module."""
    try:
        with running_browser() as running:
            yield running
    except BrowserMissing as error:
        if os.environ.get("ENGAGEMENT_TEST_REQUIRE_KAFKA") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
