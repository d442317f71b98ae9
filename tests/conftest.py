"""What holds for every test: whose settings count, and how hard Hypothesis looks for a counterexample."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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

_OF_THE_TESTS = ("ENGAGEMENT_TEST_", "ENGAGEMENT_REQUIRE_")


@pytest.fixture(autouse=True)
def settings_of_whoever_runs_the_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Left out: an ENGAGEMENT_* variable of the shell is no setting of a test."""
    # Tests against brokers start processes with an environment of their own, and read what the harness is told.
    kept = _OF_THE_TESTS if "integration" in request.path.parts else _OF_THE_TESTS[:1]
    with pytest.MonkeyPatch.context() as patched:
        for name in os.environ:
            if name.startswith("ENGAGEMENT_") and not name.startswith(kept):
                patched.delenv(name)
        yield
