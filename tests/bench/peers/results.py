"""Where the results of the peers' benches lie: `.cache/bench/`, as text, as data, and drawn."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.bench.peers.contestants import NotHere, python_of

_FOLDER: Final = Path(__file__).parents[3] / ".cache" / "bench"


def publish(name: str, text: str, data: dict[str, Any]) -> None:
    """Print the text, keep it with the data, and draw the plot where matplotlib can be had."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    path = _FOLDER / name
    path.with_suffix(".md").write_text(text + "\n")
    path.with_suffix(".json").write_text(json.dumps(data, indent=1))
    print(f"\n{text}\n")  # noqa: T201  printing is what a bench is for
    try:
        command = [str(python_of("plots")), "-m", "tests.bench.peers.plot", name, str(path)]
        subprocess.run(command, input=json.dumps(data), text=True, check=True)
        print(f"drawn: {path}.png and .svg")  # noqa: T201
    except NotHere as error:
        print(f"not drawn, there is no matplotlib: {error}")  # noqa: T201
