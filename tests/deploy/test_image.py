"""deploy/Dockerfile: two stages, no root, and a folder of state that belongs to the user it runs as."""

from __future__ import annotations

import json
import re
import subprocess

from dockerfile_parse import DockerfileParser

from stream.settings import load
from tests.deploy.programs import image_environment, last_stage
from tests.deploy.tools import DEPLOY, REPOSITORY, tool

DOCKERFILE = DEPLOY / "Dockerfile"


def value_of(name: str) -> str:
    """The value of the only instruction of this name in the last stage."""
    (value,) = (step["value"] for step in last_stage() if step["name"] == name)
    return value


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = tool("hadolint", of="the `dev` extra")
    done = subprocess.run([hadolint, "--failure-threshold", "style", str(DOCKERFILE)], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def test_compilers_and_installers_stay_in_the_first_stage() -> None:
    images = DockerfileParser(str(DOCKERFILE)).parent_images

    assert len(images) == 2
    assert images[-1].endswith("-slim-bookworm")
    assert not any("pip " in step["value"] or "apt" in step["value"] for step in last_stage() if step["name"] == "RUN")


def test_it_runs_as_a_user_with_a_fixed_number_who_owns_the_state_only() -> None:
    made = " ".join(step["value"] for step in last_stage() if step["name"] == "RUN")
    uid, gid = value_of("USER").split(":")
    state = image_environment()["ENGAGEMENT_STATE_URL"].removeprefix("rocksdb://")

    assert int(uid) >= 10_000
    assert f"useradd --uid {uid} --gid {gid}" in made
    assert re.search(rf"install --directory --owner={uid} --group={gid} --mode=0750 {state}$", made)
    assert value_of("WORKDIR") == state
    assert [step["value"] for step in last_stage() if step["name"] == "COPY" and "--chown" in step["value"]] == []


def test_its_variables_are_settings_and_leave_it_on_127_0_0_1() -> None:
    settings = load(
        None, {name: value for name, value in image_environment().items() if name.startswith("ENGAGEMENT_")}
    )

    assert settings.server.host == "127.0.0.1"
    assert settings.state.url == "rocksdb:///var/lib/engagement"


def test_it_runs_the_program_and_asks_it_whether_it_is_ready() -> None:
    assert json.loads(value_of("ENTRYPOINT")) == ["engagement"]
    assert json.loads(value_of("CMD")) == ["run"]
    assert value_of("HEALTHCHECK").endswith('CMD ["engagement", "health"]')
    assert value_of("EXPOSE") == "8600"


def test_all_that_it_copies_is_let_through_and_nothing_else() -> None:
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_through = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    steps = DockerfileParser(str(DOCKERFILE)).structure
    copied = {
        source
        for step in steps
        if step["instruction"] == "COPY" and "--from" not in step["value"]
        for source in step["value"].split()[:-1]
    }

    assert copied == let_through
    assert all((REPOSITORY / source).exists() for source in copied)
    assert "*" in ignore
