"""The dashboards as the files that Grafana reads: its classic model, which file provisioning takes in all versions."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.engagement import engagement
from deploy.grafana.pipeline import pipeline

FOLDER = Path(__file__).parent / "dashboards"


def documents() -> dict[str, str]:
    """The text of each file, by its name."""
    boards = {"engagement.json": engagement(), "pipeline.json": pipeline()}
    return {name: json.dumps(board, cls=JSONEncoder, indent=2) + "\n" for name, board in boards.items()}
