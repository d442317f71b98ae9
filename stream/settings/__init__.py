"""Settings: one frozen value, read once from a TOML file and from ENGAGEMENT_* variables.

A variable is named after its place in the file: `ENGAGEMENT_KAFKA_SERVERS` is `servers` under `[kafka]`. Variables win
over the file. Unknown names and impossible values are refused by name, for a typo must not silently become a default.
"""

from stream.settings.loading import load
from stream.settings.model import Input, Kafka, Log, Server, Settings, SettingsError, State, Topics, Unavailable, Worker
from stream.settings.places import items, places, variable

__all__ = [
    "Input",
    "Kafka",
    "Log",
    "Server",
    "Settings",
    "SettingsError",
    "State",
    "Topics",
    "Unavailable",
    "Worker",
    "items",
    "load",
    "places",
    "variable",
]
