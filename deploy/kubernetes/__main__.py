"""Writes the made manifests anew."""

from deploy.kubernetes.documents import FOLDER, documents

for name, text in documents().items():
    (FOLDER / name).write_text(text)
