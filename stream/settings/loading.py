"""From a file and variables to settings."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from stream.settings.checks import check
from stream.settings.model import Settings, SettingsError
from stream.settings.places import places

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

_PREFIX = "ENGAGEMENT_"


def load(file: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a file, then variables, then `overrides` by dotted name. Raises SettingsError."""
    tree: dict[str, Any] = {} if file is None else _read(file)
    for name, text in sorted(environment.items()):
        if name.startswith(_PREFIX) and name != "ENGAGEMENT_SETTINGS" and not name.startswith("ENGAGEMENT_TEST_"):
            _put(tree, _place_of(name), text)
    for place, value in (overrides or {}).items():
        _put(tree, place, value)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_by_name(str(error))) from None
    check(settings)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"can't read the settings file {str(file)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _place_of(variable: str) -> str:
    name = variable.removeprefix(_PREFIX).lower()
    for section in (field for field in places() if "." in field):
        if section.replace(".", "_") == name:
            return section
    if name == "inputs":
        raise SettingsError(f"inputs: tables can't be a variable ({variable}): write [[inputs]] in the settings file")
    if name in places():
        return name
    raise SettingsError(f"unknown setting: the variable {variable} names none; `engagement settings` lists them all")


def _put(tree: dict[str, Any], place: str, value: Any) -> None:
    *sections, name = place.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{section}: expected a section of settings, [{section}], not a value")
    if isinstance(value, str) and (sections == ["windows"] or place == "segments"):
        value = [part.strip() for part in value.split(",")] if value.strip() or sections else []
    tree[name] = value


def _by_name(told: str) -> str:
    """Turn msgspec's message into one that names the setting as the file does."""
    message, _, path = told.partition(" - at `$.")
    place = path.rstrip("`")
    if "unknown field" in message:
        name = message.split("`")[-2]
        return f"unknown setting: {f'{place}.{name}' if place else name}"
    return f"{place}: {message[0].lower()}{message[1:]}"
