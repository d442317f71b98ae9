"""What may be seen of a setting: its value, with asterisks where a secret is or may be.

Whoever prints a setting, in a list, an error or a log, asks `shown`. A value is judged by what it should be: of a URL
that is none, or of a path where no file can be, nothing is shown, for it may be a password that was put into the wrong
place. Texts that are made of values, such as errors of libraries, go through `without_credentials` at last.
"""

import re
from pathlib import Path
from typing import Any

HIDDEN = "********"

_SECRETS = ("sasl_password",)
_URLS = ("url",)
_ENDING_OF_PATHS = "file"

_SCHEME = re.compile(r"[a-z]{2,10}(\+[a-z]{2,10})?")
_USER = re.compile(r"[\w.-]*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[\w.-]*)(:\d{0,5})?(/\d*)?", re.ASCII)
_PATH = re.compile(r"[^@?#=&:;\\\s]*")
_OF_PATHS = ("rocksdb", "unix", "memory")

# user:password@ in front of a host, whatever stands there alone, and password=… as in the options of a URL.
_USER_AND_PASSWORD = re.compile(r"""(?P<shown>([\w+]+://)?[^\s'"@:/,]*:)[^\s'"@]*@""")
_CREDENTIALS = re.compile(r"""(?P<shown>([\w+]+://)?([^\s'"@:/,]*:)?)[^\s'"@]*@""")
_OPTION = re.compile(r"""(?i)(?P<name>(?:pass\w*|pwd|secret\w*|token|auth\w*)=)[^\s'"&;,]*""")


def shown(name: str, value: Any) -> Any:
    """The value of a setting as it may be seen. `name` is that of the setting, with its section or without."""
    name = name.rpartition(".")[2]
    if not isinstance(value, str) or not value:
        return value
    if name in _SECRETS:
        return HIDDEN
    if name in _URLS:
        return _url(value)
    if name.endswith(_ENDING_OF_PATHS):
        return value if _may_be_path(value) else HIDDEN
    return value if name.endswith("username") else without_credentials(value)


def without_credentials(text: str, *, of_settings: bool = True) -> str:
    """A text with asterisks for what looks like credentials: `user:password@` and `password=…`.

    In a text about settings also for all that stands before an `@`, which elsewhere may be the name of a file.
    """
    if "@" in text:
        pattern = _CREDENTIALS if of_settings else _USER_AND_PASSWORD
        text = pattern.sub(rf"\g<shown>{HIDDEN}@", text)
    return _OPTION.sub(rf"\g<name>{HIDDEN}", text) if "=" in text else text


def _url(url: str) -> str:
    scheme, found, rest = url.partition("://")
    if not found or not _SCHEME.fullmatch(scheme):
        return HIDDEN
    credentials, at, place = rest.rpartition("@")
    fitting = _PATH if scheme in _OF_PATHS else _HOST
    if not at and not fitting.fullmatch(place):  # a host was forgotten
        credentials, place = place, ""
    if not fitting.fullmatch(place):
        place = HIDDEN
    user, colon, password = credentials.partition(":")
    if not colon:
        credentials = HIDDEN if user else ""
    else:
        credentials = f"{user if _USER.fullmatch(user) else HIDDEN}:{HIDDEN if password else ''}"
    return f"{scheme}://{credentials}{at}{place}"


def _may_be_path(text: str) -> bool:
    """Whether there is such a file, or a folder for it: else it may be what should stand in the file."""
    path = Path(text)
    try:
        return text.isprintable() and (path.exists() or ("/" in text and path.parent.is_dir()))
    except OSError:  # too long for a name
        return False
