"""What holds for every test: whose settings count, and how hard Hypothesis looks for a counterexample."""

import gc
import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from playwright.sync_api import Browser

from tests.browser import BrowserMissing, running_browser
from tests.compiling import compile_once
from tests.logs import logging_put_back
from tests.missing import missing, what_is_missing
from tests.order import in_order

# Brokers and deployments, made once for the tests of all folders.
pytest_plugins = ["tests.integration.fixtures"]

# Times say nothing on a machine that others use too. What a run in CI finds must fail again when it is run again.
# Every run looks at other examples, and laws overlap: forty of each are enough here. For more there are the nights.
settings.register_profile(
    "default",
    max_examples=40,
    deadline=None,
    print_blob=True,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
# For a night: make test ARGS="--hypothesis-profile thorough". Tests that ask for a number of examples keep theirs.
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5_000, derandomize=False)
# For `make test-quick`: who has just changed something wants to know within a minute whether all of it is wrong.
settings.register_profile("quick", settings.get_profile("default"), max_examples=10)
# For `make mutants`: the same examples each time, and of one that fails no simpler form.
settings.register_profile(
    "mutants",
    settings.get_profile("default"),
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
)
settings.load_profile("default")

# Python looks for garbage in circles after every 700 new objects: a twentieth of the time of tests that compute.
gc.set_threshold(5_000, 10, 10)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the processes that share the tests are started."""
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        compile_once(session.config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """All tests are imported, and nothing of that becomes garbage: a fifth of the time would go into looking for it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(autouse=True, scope="module")
def what_was_imported_is_no_garbage() -> None:
    """Left out when garbage is looked for: 400,000 objects, a tenth of the time. Tests may have put them back."""
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def settings_of_whoever_runs_the_tests() -> Iterator[None]:
    """Left out: an ENGAGEMENT_* variable of the shell is no setting of a test."""
    with pytest.MonkeyPatch.context() as patched:
        for name in os.environ:
            if name.startswith("ENGAGEMENT_") and not name.startswith("ENGAGEMENT_TEST_"):
                patched.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def loggers_that_follow_what_is_configured() -> Iterator[None]:
    """Or one that was used while a test had configured logging would keep that, and no later test could capture it."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patched:
        uncached = {"cache_logger_on_first_use": False}
        patched.setattr(structlog, "configure", lambda **told: configure(**{**told, **uncached}))
        yield


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that has configured logging leaves nothing of it to the next one."""
    with logging_put_back():
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that takes a browser or a Prometheus gets its marker; tests of several processes come in order."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "browser" in fixtures:
            item.add_marker("browser")
        if "prometheus" in fixtures:
            item.add_marker("slow")
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items[:] = in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who gives out the tests where several processes share them: `-n 8`."""
    from tests.scheduler import InOrder  # not needed where one process runs them all

    config.option.loadscopereorder = False
    return InOrder(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What this machine lacks for some tests, and what brings it."""
    lines = what_is_missing(terminalreporter.stats.get("skipped", []))
    if lines:
        terminalreporter.section("skipped for what this machine lacks")
    for line in lines:
        terminalreporter.write_line(line)


# Of a module: Playwright keeps an event loop running as long as its browser lives, and other tests want their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, shared by the tests of a module."""
    try:
        with running_browser() as running:
            yield running
    except BrowserMissing as error:
        missing(str(error))
