"""Load the settings from a file and from environment variables."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from stream.settings.checks import check
from stream.settings.model import Settings, SettingsError
from stream.settings.names import setting_names
from stream.settings.service_links import service_links

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

_PREFIX = "ENGAGEMENT_"


def load(file: Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Load settings from a file, then variables, then `overrides` by dotted name; later ones win. Raises SettingsError.

    `environment` may have other variables too; unknown ones with our prefix are errors, unless Kubernetes has added
    them for a Service.
    """
    tree: dict[str, Any] = {} if file is None else read_toml(file)
    ours = {name for name in environment if name.startswith(_PREFIX) and not name.startswith("ENGAGEMENT_TEST_")}
    for name in sorted(ours - service_links(environment) - {"ENGAGEMENT_SETTINGS"}):
        _put(tree, _setting_of_variable(name), environment[name])
    for setting, value in (overrides or {}).items():
        _put(tree, setting, value)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_with_setting_name(str(error))) from None
    check(settings)
    return settings


def read_toml(file: Path) -> dict[str, Any]:
    """What a TOML file says. Raises SettingsError for one that can't be read."""
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"can't read the settings file {str(file)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _setting_of_variable(variable: str) -> str:
    name = variable.removeprefix(_PREFIX).lower()
    if name in ("segments_named", "features", "contacts_hours"):
        table = name.replace("_", ".")
        raise SettingsError(f"{table}: a table can't be a variable ({variable}): write it in the settings file")
    for section in (field for field in setting_names() if "." in field):
        if section.replace(".", "_") == name:
            return section
    if name in ("inputs", "capex"):
        raise SettingsError(f"{name}: tables can't be a variable ({variable}): write [[{name}]] in the settings file")
    if name in setting_names():
        return name
    raise SettingsError(f"unknown setting: the variable {variable} names none; `engagement settings` lists them all")


def _put(tree: dict[str, Any], setting: str, value: Any) -> None:
    *sections, name = setting.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{section}: expected a section of settings, [{section}], not a value")
    if isinstance(value, str) and (
        sections == ["windows"]
        or setting in ("segments.by", "segments.metrics", "onboarding_steps", "contacts.holidays")
    ):
        value = [part.strip() for part in value.split(",")] if value.strip() or sections == ["windows"] else []
    tree[name] = value


def _with_setting_name(error: str) -> str:
    """Turn msgspec's message into one that names the setting as the file does."""
    message, _, path = error.partition(" - at `$.")
    setting = path.rstrip("`")
    if "unknown field" in message:
        name = message.split("`")[-2]
        return f"unknown setting: {f'{setting}.{name}' if setting else name}"
    return f"{setting}: {message[0].lower()}{message[1:]}"
