"""The names of settings: `servers` under `[kafka]` is `kafka.servers`, and ENGAGEMENT_KAFKA_SERVERS as a variable."""

from collections.abc import Iterator
from typing import Any

from stream.core.families.registry import windows
from stream.masking import masked
from stream.settings.model import Section, Settings


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
