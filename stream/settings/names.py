"""The names of settings: `servers` under `[kafka]` is `kafka.servers`, and ENGAGEMENT_KAFKA_SERVERS as a variable."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from stream.core.families.registry import windows
from stream.masking import masked
from stream.settings.model import Input, Section, Settings

# These are tables, which only the settings file can have.
TABLES = ("inputs", "segments.named", "capex", "features", "contacts.hours")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def environment_variable(setting: str) -> str:
    """Return the environment variable for a setting."""
    return f"ENGAGEMENT_{setting.replace('.', '_').upper()}"


def setting_names() -> list[str]:
    """Return the dotted names of all settings."""
    return [setting for setting, _ in setting_values(Settings())]


def setting_values(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Yield every setting by its dotted name. Secrets are masked."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name == "windows":
            for family_windows in windows():
                yield f"windows.{family_windows.name}", settings.windows_of(family_windows)
        elif isinstance(value, Section):
            for inner in value.__struct_fields__:
                yield f"{name}.{inner}", masked(inner, getattr(value, inner))
        else:
            yield name, masked(name, value)


def input_lines(input_: Input) -> Iterator[str]:
    """Yield the lines of a table [[inputs]] of the settings file, without what has its default. Secrets are masked."""
    yield "[[inputs]]"
    values = msgspec.to_builtins(input_)
    for field in msgspec.structs.fields(input_):
        if getattr(input_, field.name) != field.default:
            yield from _toml_lines(field.name, values[field.name])


def _toml_lines(place: str, value: Any) -> Iterator[str]:
    """Yield a value as lines of TOML. A table has a line for each of its values."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _toml_lines(f"{place}.{_toml_key(name)}", inner)
    else:
        yield f"{place} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{_toml_key(name)} = {_toml(inner)}" for name, inner in value.items() if inner is not None)
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return msgspec.json.encode(masked("", value)).decode()


def _toml_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else msgspec.json.encode(name).decode()
