"""Writes the made manifests anew."""

from deploy.kubernetes.documents import DOCUMENTS, FOLDER

for name, text in DOCUMENTS.items():
    (FOLDER / name).write_text(text())
