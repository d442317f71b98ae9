"""No secret is shown, however badly a setting is written. The tests put a canary into every setting, in many forms."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from stream.cli import main
from stream.commands import service
from stream.kafka.options import client_options
from stream.masking import HIDDEN, masked, without_credentials
from stream.processes import Program
from stream.settings import Settings, SettingsError, environment_variable, load, setting_names, setting_values
from stream.settings.model import Log
from stream.telemetry import configure_logging
from stream.terminal import Failure
from tests.timeouts import TIMEOUT_SECONDS

CANARY = "c4nary-Sekret"

# A password in a URL that is valid, in one that is nearly valid, and in a text that is none.
URLS = (
    "redis://u:{}@h/0",
    "redis://:{}@h",
    "rediss://u:{}@h:6379/0",
    "redis//u:{}@h",
    "redis:/u:{}@h",
    "redis:u:{}@h",
    "://u:{}@h",
    "u:{}@h:6379",
    "{}@h:6379",
    "redis://{}@h",
    "redis://u:{}",
    "redis://u:x{}",
    "redis://h/0?password={}",
    "redis://h?username=u&password={}",
    "redis://h/{}",
    "redis://h:{}",
    "redis://h:6379:{}",
    "redis://u:{}@h:port",
    "redis://u:a/{}@h",
    "redis://u:a@{}@h",
    "redis://u:a#{}@h",
    " redis://u:{}@h",
    "'redis://u:{}@h'",
    "Redis://u:{}@h",
    "http://u:{}@h",
    "rocksdb://u:{}@h",
    "rocksdb://u:{}@h/../x?y",
    "memory://?password={}",
    "{}",
    "password={}",
)
# These look like credentials, so they are recognised in any setting.
CREDENTIALS = tuple(form for form in URLS if "@" in form or "password=" in form)

MAY_HOLD_A_SECRET = {
    "state.url": URLS,
    "kafka.sasl_password": URLS,
    "kafka.sasl_password_file": URLS,
    "kafka.oauth_token_url": URLS,
    "kafka.oauth_client_secret_file": URLS,
    "state.password_file": URLS,
    "kafka.ssl_keyfile": ("-----BEGIN PRIVATE KEY-----\n{}", *URLS),
    "state.ssl_keyfile": ("-----BEGIN PRIVATE KEY-----\n{}", *URLS),
    "kafka.ssl_cafile": URLS,
    "kafka.ssl_certfile": URLS,
    "state.ssl_cafile": URLS,
    "state.ssl_certfile": URLS,
}


def _texts_about(environment: dict[str, str], file: Path | None = None) -> Iterator[str]:
    """Yield all texts about the settings that there are before anything is connected."""
    try:
        settings = load(file, environment)
    except SettingsError as error:
        yield from (str(error), repr(error))
        return
    yield from (
        str(settings),
        repr(settings),
        repr(settings.kafka),
        repr(settings.state),
        str([*setting_values(settings)]),
    )
    for ask in (settings.sasl_password, settings.redis_password, lambda: client_options(settings)):
        yield _refusal(ask)


def _refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except ValueError as error:
        return f"{error} {error!r}"
    return ""


@pytest.mark.parametrize("setting", [setting for setting in setting_names() if setting != "inputs"])
def test_no_text_about_a_setting_has_the_secret_in_it(setting: str) -> None:
    protocol = "SASL_SSL" if "ssl" in setting else "SASL_PLAINTEXT"
    leaks = [
        (form, text)
        for form in MAY_HOLD_A_SECRET.get(setting, CREDENTIALS)
        if setting != "kafka.sasl_username"  # a user name is no secret
        for text in _texts_about(
            {"ENGAGEMENT_KAFKA_SECURITY_PROTOCOL": protocol, environment_variable(setting): form.format(CANARY)}
        )
        if CANARY in text
    ]

    assert leaks == []


@pytest.mark.parametrize("form", URLS)
@pytest.mark.parametrize(
    "text",
    [
        "state = '''{}'''",
        "kafka = '''{}'''",
        "[state]\nurl = '''{}''' x",
        "[state]\nurl = {}",
        "[state]\nurls = '''{}'''",
        "[state]\nurl = ['''{}''']",
        "[state.url]\na = '''{}'''",
        "[kafka]\nsasl_password = ['''{}''']",
        "[[inputs]]\ntopic = '''u:{}@h'''\nkind = 'logins'",
    ],
)
@pytest.mark.parametrize("beside", [{}, {"ENGAGEMENT_STATE_STANDBYS": "1"}])
def test_no_error_about_a_file_has_the_secret_in_it(
    tmp_path: Path, text: str, form: str, beside: dict[str, str]
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text.format(form.format(CANARY)))

    assert [text for text in _texts_about(beside, file) if CANARY in text] == []


def test_what_is_hidden_is_no_more_than_the_secret() -> None:
    assert masked("state.url", f"redis://app:{CANARY}@h:7000/2") == f"redis://app:{HIDDEN}@h:7000/2"
    assert masked("state.url", f"unix://app:{CANARY}@/run/redis.sock") == f"unix://app:{HIDDEN}@/run/redis.sock"
    for harmless in ("redis://h:7000/2", "rediss+cluster://[::1]:7000", "rocksdb:///var/lib/x-1", "memory://"):
        assert masked("state.url", harmless) == harmless
    assert masked("kafka.sasl_password_file", "/etc/passwd") == "/etc/passwd"
    assert masked("kafka.servers", "a:1,[::1]:2") == "a:1,[::1]:2"
    assert masked("kafka.sasl_username", "ada@example.com") == "ada@example.com"
    assert without_credentials("cannot reach u:x@h:1, 'redis://u:x@h'") == (
        f"cannot reach u:{HIDDEN}@h:1, 'redis://u:{HIDDEN}@h'"
    )


def test_a_failure_names_a_file_with_an_at_sign_and_hides_a_password() -> None:
    assert Failure("No such file or directory: ada@home.jsonl").message.endswith("ada@home.jsonl")
    assert Failure(f"cannot reach a broker at redis://u:{CANARY}@h").message.endswith(f"redis://u:{HIDDEN}@h")


@given(st.sampled_from(URLS), st.text(min_size=4).filter(lambda text: text.isprintable() and text.isalnum()))
def test_no_url_shows_its_password(form: str, password: str) -> None:
    password = f"Q{password}Q"  # neither a scheme nor a user is called so

    assert password not in masked("state.url", form.format(password))


# -- every command -----------------------------------------------------------------------------------------------------

COMMANDS = [
    *(("settings",), ("run",), ("run", "--workers", "2"), ("worker",), ("serve",), ("health",), ("compute", "-")),
    *(("replay", "-"), ("topics", "check"), ("topics", "create"), ("dlq", "list"), ("dlq", "show"), ("dlq", "replay")),
    ("state", "inspect"),
]
BROKEN = [
    *(("state.url", form) for form in ("redis//u:{}@h", "redis://h/0?password={}", "redis://u:{}@h:port", "{}")),
    *(("kafka.servers", form) for form in ("u:{}@h:9092", "SASL_SSL://u:{}@h:9092", "{}@h:9092")),
    *(("server.port", "u:{}@h"), ("timezone", "u:{}@h"), ("windows.activity", "1d,u:{}@h")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_tells_a_secret_of_a_broken_setting(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, form in BROKEN:
        with monkeypatch.context() as patch:
            patch.setenv(environment_variable(setting), form.format(CANARY))
            result = CliRunner().invoke(main, command, input="")

        assert result.exit_code == 2, (setting, form, result.output)
        assert "Usage" not in result.stderr
        assert CANARY not in result.output + result.stderr, (setting, form)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize(
    "command", [("worker",), ("topics", "check"), ("dlq", "list"), ("state", "inspect")], ids=" ".join
)
def test_no_command_tells_a_secret_that_is_right(command: tuple[str, ...], level: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(CANARY)
    environment = {
        **os.environ,
        "ENGAGEMENT_LOG_LEVEL": level,
        "ENGAGEMENT_SERVER_PORT": "0",
        "ENGAGEMENT_KAFKA_SERVERS": "localhost:1",
        "ENGAGEMENT_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "ENGAGEMENT_KAFKA_SASL_USERNAME": "u",
        "ENGAGEMENT_KAFKA_SASL_PASSWORD_FILE": str(password),
        "ENGAGEMENT_STATE_URL": f"redis://u:{CANARY}@localhost:1/0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "stream.cli", *command],
        *(), env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip

    assert done.returncode == 1
    assert "localhost:1" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_what_we_start_has_no_secret_in_its_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Program] = []

    class FakeSupervisor:
        def __init__(self, programs: list[Program], *, stop_within_seconds: float) -> None:
            started.extend(programs)

        def run(self) -> int:
            return 0

    file = tmp_path / "settings.toml"
    file.write_text(f'[kafka]\nsasl_password = "{CANARY}"\n[state]\nurl = "redis://u:{CANARY}@h"\n')
    monkeypatch.setattr("stream.processes.ProcessSupervisor", FakeSupervisor)
    monkeypatch.setattr(service, "create_missing_topics", lambda settings: None)
    result = CliRunner().invoke(main, ["run", "--workers", "2", "--settings", str(file), "--kafka", "localhost:1"])

    assert result.exit_code == 0
    assert [program.name for program in started] == ["server", "worker-1", "worker-2"]
    assert CANARY not in str([program.command for program in started])


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_log_has_no_secret_however_a_library_writes_it(format: str) -> None:  # noqa: A002  as the setting is called
    password = "pa/ss w%rd:é"
    settings = load(None, {"ENGAGEMENT_STATE_URL": "redis://:pa%2fss%20w%25rd:%C3%A9@h"})
    out = StringIO()
    before = logging.getLogger().handlers[:]
    try:
        configure_logging(Log(format=format), secrets=settings.secrets(), stream=out)  # type: ignore[arg-type]
        logger = structlog.get_logger("stream")
        for form in (password, settings.state.url, repr(password), json.dumps(password), repr(password.encode())):
            logger.error("refused", value=form)
            logger.error(form)
    finally:
        logging.getLogger().handlers[:] = before

    assert settings.redis_password() == password
    for form in ("pa/ss", "pa%2fss", "w%rd", "w%25rd"):
        assert form not in out.getvalue()


def test_the_defaults_are_shown_as_they_are() -> None:
    defaults = Settings()
    assert dict(setting_values(defaults))["state.url"] == defaults.state.url
    assert HIDDEN not in str([*setting_values(defaults)])
