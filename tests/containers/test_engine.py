"""Engines run side by side, as tests in several processes need them, and none sees what another one has."""

from __future__ import annotations

import pytest

from tests.containers import engine as engines
from tests.containers.engine import Engine
from tests.containers.images import PROGRAMS, Images

pytestmark = [pytest.mark.containers]


def test_networks_and_volumes_of_one_engine_are_unknown_to_another(engine: Engine, images: Images) -> None:
    engine.podman("network", "create", "same")
    engine.podman("volume", "create", "same")

    with engines.running(images.store, tried_with=PROGRAMS) as other:
        for kind in ("network", "volume"):
            other.podman(kind, "create", "same")
            other.podman(kind, "rm", "same")

    for kind in ("network", "volume"):
        engine.podman(kind, "rm", "same")
