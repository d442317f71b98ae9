"""The files of the live page, from the folder `page` beside this module. They are read once.

Scripts and styles are written for who maintains them, and served for who waits for them: without comments, and without
spaces that mean nothing. What others wrote is served as they published it.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from stream.export.lightening import lightened_script, lightened_style

_FOLDER = Path(__file__).parent / "page"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}


class Asset(NamedTuple):
    """A file that is served."""

    body: bytes
    content_type: str
    etag: str


def page_assets() -> dict[str, Asset]:
    """All files of the page, by the path at which each is served; `/` is the page itself."""
    found = {}
    for file in sorted(_FOLDER.rglob("*")):
        name = file.relative_to(_FOLDER).as_posix()
        content_type = next((kind for end, kind in _TYPES.items() if name.endswith(end)), None)
        if content_type is not None:
            body = file.read_bytes() if "vendor" in name else _lightened(file)
            path = "/" if name == "index.html" else f"/page/{name}"
            found[path] = Asset(body, content_type, hashlib.sha256(body).hexdigest()[:16])
    return found


def _lightened(file: Path) -> bytes:
    """A file of ours without comments, spaces that mean nothing, and indentation.

    In HTML, that of template texts too, a line break is as good as any space.
    """
    lighten = {".js": lightened_script, ".css": lightened_style}.get(file.suffix, str)
    lines = lighten(file.read_text(encoding="utf-8")).splitlines()
    return "".join(f"{line.strip()}\n" for line in lines if line.strip()).encode()
