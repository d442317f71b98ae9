"""Every setting by its dotted name, as the file has it: `servers` under `[kafka]` is `kafka.servers`."""

from collections.abc import Iterator
from typing import Any

from stream.core.families.registry import windows
from stream.masking import shown
from stream.settings.model import Section, Settings


def variable(place: str) -> str:
    """The environment variable of a setting."""
    return f"ENGAGEMENT_{place.replace('.', '_').upper()}"


def places() -> list[str]:
    """The dotted name of every setting."""
    return [place for place, _ in items(Settings())]


def items(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name; secrets are not shown."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name == "windows":
            for told in windows():
                yield f"windows.{told.name}", settings.windows_of(told)
        elif isinstance(value, Section):
            for inner in value.__struct_fields__:
                yield f"{name}.{inner}", shown(inner, getattr(value, inner))
        else:
            yield name, shown(name, value)
