"""The pictures of the live page in README.md, light and dark: `make picture` takes them anew.

It starts the demo, whose clock runs fast so that there are some hours to show, and takes what a visitor sees first. The
pictures have at most 256 colours, so that they stay small.
"""

import base64
import contextlib
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser

from tests.browser import opened, running_browser, wait_until
from tests.documents import PICTURES, REPOSITORY

_SPEED = "60"
# At that speed three hours.
_SECONDS_TO_WATCH = 180.0
_SECONDS_TO_LOAD = 900.0
# The headline numbers and the charts of closed days, without what comes below them.
_BOTTOM = "document.querySelector('#days details').getBoundingClientRect().top"
_IS_DRAWN = "document.querySelectorAll('#days canvas').length === 2"
_PIXELS = """
  async (encoded) => {
    const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${encoded}`)).blob());
    const copy = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
    copy.drawImage(picture, 0, 0);
    const { data } = copy.getImageData(0, 0, picture.width, picture.height);
    let text = "";
    for (let at = 0; at < data.length; at += 10_000) text += String.fromCharCode(...data.subarray(at, at + 10_000));
    return [picture.height, picture.width, btoa(text)];
  }
"""


def main() -> None:
    """Take both pictures of a demo of its own."""
    with tempfile.TemporaryFile("w+") as printed:
        command = [sys.executable, "-m", "stream", "demo", "--speed", _SPEED, "--port", "0"]
        demo = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, text=True)
        try:
            address = _address_of(demo, printed)
            _wait_until_ready(address)
            time.sleep(_SECONDS_TO_WATCH)
            with running_browser() as browser:
                for scheme, path in PICTURES.items():
                    path.write_bytes(few_colours(browser, _taken(browser, address, scheme)))
                    print(f"{path.relative_to(REPOSITORY)}: {path.stat().st_size:,} bytes")  # noqa: T201
        finally:
            demo.terminate()
            demo.wait()


def _address_of(demo: subprocess.Popen[str], printed: Any) -> str:
    """Where the demo shows its page. Raises RuntimeError with what it printed, if it ends without one."""
    while demo.poll() is None:
        printed.seek(0)
        if found := re.search(r"http://[\d.]+:\d+/", printed.read()):
            return found[0]
        time.sleep(0.5)
    printed.seek(0)
    raise RuntimeError(f"the demo ended: {printed.read()}")


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + _SECONDS_TO_LOAD
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{address}readyz"):
            return
        time.sleep(1)
    raise TimeoutError(f"{address} was not ready within {_SECONDS_TO_LOAD:.0f} s")


def _taken(browser: Browser, address: str, scheme: Any) -> bytes:
    with opened(browser, address, viewport={"width": 1280, "height": 1400}, color_scheme=scheme) as page:
        wait_until(page, _IS_DRAWN)
        page.wait_for_timeout(3_000)
        bottom = wait_until(page, _BOTTOM)
        return page.screenshot(animations="disabled", clip={"x": 0, "y": 0, "width": 1280, "height": bottom})


def few_colours(browser: Browser, picture: bytes) -> bytes:
    """A PNG with at most 256 colours, the most frequent ones that differ; each other becomes the one next to it."""
    with opened(browser, "about:blank") as page:
        height, width, encoded = page.evaluate(_PIXELS, base64.b64encode(picture).decode())
    pixels = np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(-1, 4)[:, :3]
    colours, places, counts = np.unique(pixels, axis=0, return_inverse=True, return_counts=True)
    often_first = colours[np.argsort(-counts)]
    # Of colours that nobody can tell apart the most frequent one.
    _, differ = np.unique(often_first >> 4, axis=0, return_index=True)
    palette = often_first[np.sort(differ)[:256]].astype(np.int32)
    distances = ((colours.astype(np.int32)[:, None] - palette[None]) ** 2).sum(axis=2)
    return _png(distances.argmin(axis=1)[places.ravel()].reshape(height, width).astype(np.uint8), palette)


def _png(indices: NDArray[np.uint8], palette: NDArray[np.int32]) -> bytes:
    height, width = indices.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), indices]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


if __name__ == "__main__":
    main()
