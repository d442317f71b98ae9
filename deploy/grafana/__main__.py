"""Writes `dashboards/*.json` anew."""

from deploy.grafana.documents import FOLDER, documents

for name, text in documents().items():
    (FOLDER / name).write_text(text)
