"""Images and an engine, made once for the tests of this folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.containers import engine as engines
from tests.containers.engine import Engine
from tests.containers.images import BEFORE, Images, NoImage
from tests.deploy.tools import REPOSITORY
from tests.integration.kafka_server import KafkaUnavailable
from tests.integration.versions import OtherVersion, other_version
from tests.missing import not_here

# Kept for the next run: making it anew takes a minute.
_STORE: Final = Path("~/.cache/engagement-containers").expanduser()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """All images that are needed."""
    why = engines.why_not()
    if why is not None:
        not_here(why)
    folder = tmp_path_factory.mktemp("images")
    _STORE.mkdir(parents=True, exist_ok=True)
    images = Images(_STORE, engines.configured(folder))
    stand_ins = folder / "stand-ins"
    stand_ins.mkdir()
    try:
        images.build_bases()
        images.build_ours()
        images.build_stand_ins(stand_ins)
    except (NoImage, KafkaUnavailable) as error:
        not_here(str(error))
    return images


@pytest.fixture(scope="session")
def before(images: Images, tmp_path_factory: pytest.TempPathFactory) -> OtherVersion:
    """The version before the last change of the code, of which the image `BEFORE` is there if it has a folder."""
    folder = tmp_path_factory.mktemp("before")
    found = other_version(folder / "history")
    if found.folder is None:
        return found
    source = folder / "source"
    source.mkdir()
    packed = subprocess.run(["git", "-C", str(REPOSITORY), "archive", found.commit], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(source)], input=packed.stdout, check=True)
    try:
        images.build_ours(BEFORE, source=source)
    except NoImage as error:
        return replace(found, folder=None, left_out=str(error))
    return found


@pytest.fixture(scope="session")
def engine(images: Images) -> Iterator[Engine]:
    """A container engine, which all tests share one after the other."""
    with engines.running(images.store) as running:
        yield running
