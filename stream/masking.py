"""Mask the secrets in settings and in texts, so that they can be printed.

Code that prints the value of a setting, in a list, an error or a log, passes it through `masked`. How much is shown
depends on what the setting should be. A text that should be a URL and is none, or should be a path where no file can
be, is masked as a whole, because it may be a password that was put into the wrong place. Texts that contain values,
such as the errors of libraries, go through `without_credentials`.
"""

import re
from pathlib import Path
from typing import Any

HIDDEN = "********"

_SECRETS = ("sasl_password",)
_URLS = ("url",)
_PATH_SUFFIX = "file"

_SCHEME = re.compile(r"[a-z]{2,10}(\+[a-z]{2,10})?")
_USER = re.compile(r"[\w.-]*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[\w.-]*)(:\d{0,5})?(/\d*)?", re.ASCII)
_SENTINELS = re.compile(
    r"(\[[0-9A-Fa-f:.]*\]|[\w.-]*)(:\d{0,5})?(, *(\[[0-9A-Fa-f:.]*\]|[\w.-]*)(:\d{0,5})?)*(/[\w.-]*(/\d*)?)?", re.ASCII
)
_HTTP = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[\w.-]*)(:\d{0,5})?(/[\w./-]*)?", re.ASCII)
_PATH = re.compile(r"[^@?#=&:;\\\s]*")
_SCHEMES_OF_PATHS = ("rocksdb", "unix", "memory")
_SCHEMES_OF_HTTP = ("http", "https")

# `user:password@` before a host.
_USER_AND_PASSWORD = re.compile(r"""(?P<shown>([\w+]+://)?[^\s'"@:/,]*:)[^\s'"@]*@""")
# The same, or any other text before an `@`.
_CREDENTIALS = re.compile(r"""(?P<shown>([\w+]+://)?([^\s'"@:/,]*:)?)[^\s'"@]*@""")
# `password=…`, as in the options of a URL.
_OPTION = re.compile(r"""(?i)(?P<name>(?:pass\w*|pwd|secret\w*|token|auth\w*)=)[^\s'"&;,]*""")


def masked(name: str, value: Any) -> Any:
    """Return the value of a setting for display. Secrets are masked. The name may be with its section or without."""
    name = name.rpartition(".")[2]
    if isinstance(value, tuple):
        return tuple(masked(name, one) for one in value)
    if not isinstance(value, str) or not value:
        return value
    if name in _SECRETS:
        return HIDDEN
    if name in _URLS or name.endswith("_url"):
        return _masked_url(value)
    if name.endswith(_PATH_SUFFIX):
        return value if _may_be_path(value) else HIDDEN
    return value if name.endswith("username") else without_credentials(value)


def without_credentials(text: str, *, of_settings: bool = True) -> str:
    """Return a text with asterisks for what looks like credentials: `user:password@` and `password=…`.

    In a text about settings everything before an `@` is masked. In other texts it may be the name of a file.
    """
    if "@" in text:
        pattern = _CREDENTIALS if of_settings else _USER_AND_PASSWORD
        text = pattern.sub(rf"\g<shown>{HIDDEN}@", text)
    return _OPTION.sub(rf"\g<name>{HIDDEN}", text) if "=" in text else text


def _masked_url(url: str) -> str:
    scheme, found, rest = url.partition("://")
    if not found or not _SCHEME.fullmatch(scheme):
        return HIDDEN
    if scheme in _SCHEMES_OF_HTTP and "," in url:
        return ",".join(_masked_url(one.strip()) for one in url.split(","))
    credentials, at, place = rest.rpartition("@")
    pattern = _pattern_of(scheme)
    if not at and not pattern.fullmatch(place):  # the URL has no host
        credentials, place = place, ""
    if not pattern.fullmatch(place):
        place = HIDDEN
    user, colon, password = credentials.partition(":")
    if not colon:
        credentials = HIDDEN if user else ""
    else:
        credentials = f"{user if _USER.fullmatch(user) else HIDDEN}:{HIDDEN if password else ''}"
    return f"{scheme}://{credentials}{at}{place}"


def _pattern_of(scheme: str) -> re.Pattern[str]:
    if scheme in _SCHEMES_OF_PATHS:
        return _PATH
    if scheme in _SCHEMES_OF_HTTP:
        return _HTTP
    return _SENTINELS if scheme.endswith("+sentinel") else _HOST


def _may_be_path(text: str) -> bool:
    """Whether the file exists, or a folder for it. Otherwise the text may be what belongs into the file."""
    path = Path(text)
    try:
        return text.isprintable() and (path.exists() or ("/" in text and path.parent.is_dir()))
    except OSError:  # the text is too long for a file name
        return False
