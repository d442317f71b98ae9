"""What holds for every test: how hard Hypothesis looks for a counterexample."""

import os

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
