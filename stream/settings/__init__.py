"""Settings: one frozen value, read once at the start from a TOML file and from ENGAGEMENT_* variables.

A variable has the name of the setting: `ENGAGEMENT_KAFKA_SERVERS` is `servers` in the section `[kafka]`. Variables take
precedence over the file. Unknown names and impossible values are refused, so that a typing error does not silently
become a default. The variables that Kubernetes adds for a Service such as `engagement` are no settings.
"""

from stream.settings.checks import check_input
from stream.settings.loading import load, read_toml
from stream.settings.model import (
    Input,
    JsonOf,
    Kafka,
    Log,
    Registry,
    Server,
    Settings,
    SettingsError,
    State,
    Topics,
    Unavailable,
    Worker,
    decoder_of_input,
    reader_of_input,
)
from stream.settings.names import environment_variable, setting_names, setting_values

__all__ = [
    "Input",
    "JsonOf",
    "Kafka",
    "Log",
    "Registry",
    "Server",
    "Settings",
    "SettingsError",
    "State",
    "Topics",
    "Unavailable",
    "Worker",
    "check_input",
    "decoder_of_input",
    "environment_variable",
    "load",
    "read_toml",
    "reader_of_input",
    "setting_names",
    "setting_values",
]
