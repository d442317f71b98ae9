"""The files of the live page, from the folder `page` beside this module. They are read once.

Scripts and styles are written for who maintains them, and served for who waits for them: without comments, blank lines
and indentation, which are an eighth of what the page would weigh. What others wrote is served as they published it.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "page"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}

# Comments that have lines to themselves. One that follows code stays, for `//` may also stand in a text.
_BLOCK = r"/\*(?:(?!\*/)[\s\S])*\*/[ \t]*"
_COMMENT_LINES = {
    ".js": re.compile(rf"^[ \t]*(?://.*|{_BLOCK})$", re.MULTILINE),
    ".css": re.compile(rf"^[ \t]*{_BLOCK}$", re.MULTILINE),
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
    """A file of ours without its comment lines, blank lines and indentation.

    Lines stay lines: in HTML, CSS and scripts, those in template texts too, a line break is as good as any space.
    """
    text = file.read_text(encoding="utf-8")
    comments = _COMMENT_LINES.get(file.suffix)
    lines = (comments.sub("", text) if comments else text).splitlines()
    return "".join(f"{line.strip()}\n" for line in lines if line.strip()).encode()
