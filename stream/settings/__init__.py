"""Settings: one frozen value, read once at the start from a TOML file and from ENGAGEMENT_* variables.

A variable has the name of the setting: `ENGAGEMENT_KAFKA_SERVERS` is `servers` in the section `[kafka]`. Variables take
precedence over the file. Unknown names and impossible values are refused, so that a typing error does not silently
become a default.
"""

from stream.settings.loading import load
from stream.settings.model import Input, Kafka, Log, Server, Settings, SettingsError, State, Topics, Unavailable, Worker
from stream.settings.names import environment_variable, setting_names, setting_values

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
    "environment_variable",
    "load",
    "setting_names",
    "setting_values",
]
