"""The images and the engine that all tests of this folder share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.containers import engine as engines
from tests.containers.engine import Engine, NoEngine
from tests.containers.images import PROGRAMS, Images, NoImage
from tests.integration.kafka_server import KafkaUnavailable
from tests.integration.versions import before_the_last_change
from tests.missing import unreachable

# The images are kept for the next run: building all of them takes minutes.
_STORE: Final = Path("~/.cache/engagement-containers").expanduser()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The store with all images."""
    reason = engines.why_not()
    if reason is not None:
        unreachable(reason)
    folder = tmp_path_factory.mktemp("images")
    images = Images(_STORE, engines.variables_in(folder))
    stand_ins = folder / "stand-ins"
    stand_ins.mkdir()
    try:
        with images.alone():
            images.build_bases()
            images.build_ours()
            images.build_stand_ins(stand_ins)
    except (NoImage, KafkaUnavailable) as error:
        unreachable(str(error))
    return images


@dataclass(frozen=True, slots=True)
class Before:
    """The image of the commit before the last change of the code, or why there is none."""

    commit: str = ""
    image: str = ""
    reason: str = ""


@pytest.fixture(scope="session")
def before(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Before:
    """The image of the commit before the last change of the code."""
    try:
        commit = before_the_last_change()
        if not commit:
            return Before(reason="this clone has no history of stream/")
        with images.alone():
            return Before(commit, images.build_of_commit(commit, tmp_path_factory.mktemp("before")))
    except (NoImage, OSError, subprocess.CalledProcessError) as error:
        return Before(reason=str(error))


@pytest.fixture(scope="session")
def engine(images: Images) -> Iterator[Engine]:
    """The container engine, which the tests use one after the other."""
    with ExitStack() as opened:
        try:
            running = opened.enter_context(engines.running(images.store, tried_with=PROGRAMS))
        except NoEngine as error:
            unreachable(str(error))
        yield running
