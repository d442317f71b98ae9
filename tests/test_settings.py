"""Settings are read once, and a typo never becomes a default."""

from contextlib import suppress
from pathlib import Path

import pytest

from stream.core.families.health.scorer import PARTS
from stream.core.rules import Health
from stream.core.time import seconds_of
from stream.core.windows import ACTIVITY, SESSIONS, SURVEYS
from stream.inputs.encodings.schemas import Schemas
from stream.redis_url import SCHEMES
from stream.settings import TABLES, Settings, SettingsError, environment_variable, load, setting_names, setting_values
from stream.settings.checks import RANGES


def test_defaults_are_those_of_the_contract() -> None:
    rules = load(None, {}).rules

    assert rules.session_timeout_ms == 30 * 60_000
    assert rules.allowed_lateness_ms == 72 * 3_600_000
    assert rules.future_limit_ms == 3_600_000
    assert rules.close_after_ms == 3_600_000
    assert rules.windows_of(ACTIVITY) == ("5m", "1h", "1d", "7d", "28d", "30d")
    assert rules.windows_of(SESSIONS) == ("1h", "1d", "7d", "28d", "30d")
    assert rules.windows_of(SURVEYS) == ("1d", "7d", "28d", "30d", "90d")
    assert rules.days.zone == "UTC"


def test_variables_win_over_the_file_and_overrides_over_both(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('timezone = "Europe/Berlin"\n[kafka]\nservers = "file:1"\n[topics]\npartitions = 3\n')
    environment = {"ENGAGEMENT_KAFKA_SERVERS": "variable:2", "ENGAGEMENT_TOPICS_PARTITIONS": "5", "HOME": "/"}

    settings = load(file, environment, {"topics.partitions": 7})

    assert settings.timezone == "Europe/Berlin"
    assert settings.kafka.servers == "variable:2"
    assert settings.topics.partitions == 7


def _is_number(default: object) -> bool:
    """Whether a setting is a number or a length of time."""
    if isinstance(default, str):
        with suppress(ValueError):
            return seconds_of(default) >= 0
    return isinstance(default, int) and not isinstance(default, bool)


def test_every_number_has_its_least_and_its_greatest() -> None:
    numbers = {place for place, default in setting_values(Settings()) if _is_number(default)}

    assert numbers == set(RANGES)


def _beyond(limit: int | str, by: int) -> str:
    return str(limit + by) if isinstance(limit, int) else f"{seconds_of(limit) + by}s"


@pytest.mark.parametrize("place", RANGES)
def test_a_number_beyond_its_range_is_refused_and_its_ends_are_taken(place: str) -> None:
    least, greatest = RANGES[place]
    for value in (least, greatest):
        assert dict(setting_values(load(None, {environment_variable(place): str(value)})))[place] == value
    refused = [_beyond(greatest, 1), *([] if least == "0s" else [_beyond(least, -1)])]
    for value in refused:
        with pytest.raises(SettingsError, match=f"^{place}: {value} is (less|more) than"):
            load(None, {environment_variable(place): value})


def test_the_longest_window_has_400_days() -> None:
    assert load(None, {"ENGAGEMENT_WINDOWS_ACTIVITY": "1m,400d"}).windows_of(ACTIVITY) == ("1m", "400d")
    with pytest.raises(SettingsError, match=r"windows\.activity: 9999999d is more than 400d"):
        load(None, {"ENGAGEMENT_WINDOWS_ACTIVITY": "1d,9999999d"})


@pytest.mark.parametrize(
    "zone", ["localtime", "right/UTC", "posix/Europe/Berlin", "posixrules", "Factory", "", "/etc/x"]
)
def test_what_may_be_another_day_on_another_machine_is_no_zone(zone: str) -> None:
    with pytest.raises(SettingsError, match=r"timezone: '.*' is no IANA time zone"):
        load(None, {"ENGAGEMENT_TIMEZONE": zone})


def test_cohorts_begin_on_a_day_of_the_calendar() -> None:
    assert load(None, {"ENGAGEMENT_COHORTS_FROM": "1970-01-02"}).rules.cohorts_from == 1
    assert load(None, {}).rules.cohorts_from is None
    for text in ("2026-02-30", "2026-11", "tomorrow", "2026-11-21T00:00:00Z"):
        with pytest.raises(SettingsError, match=r"^cohorts_from: "):
            load(None, {"ENGAGEMENT_COHORTS_FROM": text})


def test_windows_of_a_variable_are_separated_by_commas() -> None:
    settings = load(None, {"ENGAGEMENT_WINDOWS_SURVEYS": "7d, 365d"})

    assert settings.windows_of(SURVEYS) == ("7d", "365d")


def test_segments_are_counted_in_one_order_however_they_are_listed_and_may_be_none() -> None:
    some = load(None, {"ENGAGEMENT_SEGMENTS_BY": "country, plan"})

    assert some.rules.segments == ("plan", "country")
    assert some.shared["segments"] == "plan,country of activity,sessions,surveys"
    assert load(None, {}).shared["segments"] == "platform,plan,country,app_version of activity,sessions,surveys"
    assert load(None, {"ENGAGEMENT_SEGMENTS_BY": ""}).shared["segments"] == "none"


def test_what_is_counted_by_segment_is_chosen_by_metric() -> None:
    some = load(None, {"ENGAGEMENT_SEGMENTS_METRICS": "nps, active_users"})

    assert some.rules.segment_metrics == ("nps", "active_users")
    assert some.shared["segments"] == "platform,plan,country,app_version of activity,surveys"
    assert some.shared["segments.metrics"] == "active_users,nps"
    assert load(None, {"ENGAGEMENT_SEGMENTS_METRICS": ""}).shared["segments"] == "none"


def test_values_that_have_a_name_are_listed_in_the_file_by_segment(tmp_path: Path) -> None:
    file = tmp_path / "engagement.toml"
    file.write_text('[segments.named]\nplatform = ["web", "ios"]\n')
    assert load(file, {}).rules.named_values == {"platform": ("web", "ios")}

    for text, told in (
        ('city = ["Bonn"]', "segments.named: 'city' is none of platform, plan, country, app_version"),
        ('platform = ["web ", "ios"]', "segments.named.platform: 'web ' is no value that a user can have"),
        ('platform = ["other"]', "segments.named.platform: 'other' is no value that a user can have"),
        (f"plan = {[f'p{place}' for place in range(21)]}", "segments.named.plan: 21 values are more than 20"),
    ):
        file.write_text(f"[segments.named]\n{text}\n")
        with pytest.raises(SettingsError, match=f"^{told}"):
            load(file, {})
    with pytest.raises(SettingsError, match=r"^segments\.named: a table can't be a variable"):
        load(None, {"ENGAGEMENT_SEGMENTS_NAMED": "web"})


def test_business_hours_are_a_table_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "engagement.toml"
    file.write_text(
        'timezone = "Europe/Berlin"\n[contacts]\nholidays = ["2026-12-25"]\n'
        '[contacts.hours]\nmon = ["13:00-17:30", "09:00-12:00"]\n'
    )
    settings = load(file, {})
    told = "Europe/Berlin: mon 13:00-17:30 09:00-12:00 without 2026-12-25"
    assert str(settings.rules.contact_hours) == settings.shared["contacts.hours"] == told
    settings = load(file, {"ENGAGEMENT_CONTACTS_ZONE": "UTC", "ENGAGEMENT_CONTACTS_HOLIDAYS": "2026-12-24, 2026-12-25"})
    assert str(settings.rules.contact_hours).startswith("UTC: ")
    assert str(settings.rules.contact_hours).endswith(" without 2026-12-24 2026-12-25")
    assert load(None, {}).rules.contact_hours is None

    for text, told in (
        ('hours.monday = ["09:00-17:00"]', "contacts.hours: 'monday' is none of mon, tue"),
        ('hours.mon = ["9-17"]', "contacts.hours.mon: '9' is no time of day such as 09:00"),
        ('hours.mon = ["09:00-12:00", "11:00-17:00"]', "contacts.hours.mon: two of 09:00-12:00, 11:00-17:00 overlap"),
        ("hours.mon = []", "contacts.hours: on no day is anybody there"),
        ('zone = "UTC"', "contacts.zone: has no effect without the table"),
        ('hours.mon = ["09:00-17:00"]\nzone = "Berlin"', "contacts.zone: 'Berlin' is no IANA time zone"),
        ('hours.mon = ["09:00-17:00"]\nholidays = ["25.12."]', "contacts.holidays: not a day such as 2026-11-21"),
    ):
        file.write_text(f"[contacts]\n{text}\n")
        with pytest.raises(SettingsError, match=f"^{told}"):
            load(file, {})
    with pytest.raises(SettingsError, match=r"^contacts\.hours: a table can't be a variable"):
        load(None, {"ENGAGEMENT_CONTACTS_HOURS": "mon"})


def test_weights_and_bounds_of_health_are_settings(tmp_path: Path) -> None:
    assert load(None, {}).rules.health is None
    assert load(None, {"ENGAGEMENT_HEALTH_ENABLED": "true"}).rules.health == Health()

    file = tmp_path / "engagement.toml"
    file.write_text("[health]\nenabled = true\nactivity = 1\nsupport = 0\ntarget_days = 20\nhealthy_from = 80\n")
    rules = load(file, {}).rules.health
    assert rules == Health(weights=(1, 2, 2, 0, 2), target_days=20, at_risk_below=40, healthy_from=80)

    for text, told in (
        ("support = -1", "health.support: "),
        ("support = inf", "health.support: "),
        ("target_days = 29", "health.target_days: "),
        ("at_risk_below = 71", "health.at_risk_below: 71 is more than 50"),
        ("\n".join(f"{name} = 0" for name in PARTS), "health: one of the weights activity, adoption"),
    ):
        file.write_text(f"[health]\n{text}\n")
        with pytest.raises(SettingsError, match=f"^{told}"):
            load(file, {})


def test_features_are_listed_in_the_file_with_their_weights(tmp_path: Path) -> None:
    file = tmp_path / "engagement.toml"
    file.write_text("[features]\nsearch = 3\nexport = 0.5\n")
    settings = load(file, {})
    assert settings.rules.features == {"search": 3, "export": 0.5}
    # Workers and servers must agree on the names, by which is counted. Weights are only for what is shown.
    assert settings.shared["features"] == "export,search"

    for text, told in (
        ("other = 1", "features: 'other' is no name that a feature can have"),
        ('" search" = 1', "features: ' search' is no name that a feature can have"),
        ("search = -1", "features.search: -1.0 is no weight: 0, or a number above it"),
        ("search = inf", "features.search: inf is no weight"),
        ("\n".join(f"f{number} = 1" for number in range(21)), "features: 21 are named, 20 are allowed"),
    ):
        file.write_text(f"[features]\n{text}\n")
        with pytest.raises(SettingsError, match=f"^{told}"):
            load(file, {})
    with pytest.raises(SettingsError, match=r"^features: a table can't be a variable"):
        load(None, {"ENGAGEMENT_FEATURES": "search"})


def test_every_setting_has_a_variable() -> None:
    for place in setting_names():
        if place in TABLES:  # tables, which only a file can hold
            continue
        variable = f"ENGAGEMENT_{place.replace('.', '_').upper()}"
        told = dict(setting_values(load(None, {})))[place]
        text = ",".join(told) if isinstance(told, tuple) else str(told)

        assert dict(setting_values(load(None, {variable: text})))[place] == told, variable


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ENGAGEMENT_KAFKA_SERVER": "x"}, "ENGAGEMENT_KAFKA_SERVER names none"),
        ({"ENGAGEMENT_TIMEZONE": "Mars/Base"}, "timezone: 'Mars/Base' is no IANA time zone, such as UTC"),
        ({"ENGAGEMENT_SESSION_TIMEOUT": "30 minutes"}, "session_timeout: not a length of time"),
        ({"ENGAGEMENT_WINDOWS_ACTIVITY": "90s"}, "windows.activity: a window must be whole buckets: '90s'"),
        ({"ENGAGEMENT_WINDOWS_ACTIVITY": "1d,1501m"}, "windows.activity: a window must be whole buckets: '1501m'"),
        ({"ENGAGEMENT_SEGMENTS_BY": "platform,city"}, "segments.by: 'city' is none of platform, plan, country, app_"),
        ({"ENGAGEMENT_SEGMENTS_BY": "plan, plan"}, "segments.by: one is named twice: plan, plan"),
        ({"ENGAGEMENT_SEGMENTS_METRICS": "logins"}, "segments.metrics: 'logins' is none of active_users, stickiness_"),
        ({"ENGAGEMENT_TOPICS_PARTITIONS": "0"}, "topics.partitions: 0 is less than 1"),
        ({"ENGAGEMENT_TOPICS_PARTITIONS": "many"}, "topics.partitions: expected `int`"),
        ({"ENGAGEMENT_SERVER_PORT": "70000"}, "server.port: 70000 is more than 65535"),
        ({"ENGAGEMENT_CLOCK": "sun"}, "clock: invalid enum value 'sun'"),
        (
            {"ENGAGEMENT_STATE_URL": "disk"},
            "state.url: '********' begins with none of rocksdb://, memory://, redis://, rediss://, redis+cluster://, ",
        ),
        ({"ENGAGEMENT_STATE_URL": "rocksdb://"}, "state.url: 'rocksdb://': no directory, as in rocksdb:///var/lib/"),
        ({"ENGAGEMENT_STATE_URL": "redis://"}, "state.url: 'redis://': no host"),
        (
            {"ENGAGEMENT_STATE_SENTINEL_PASSWORD_FILE": "a", "ENGAGEMENT_STATE_URL": "redis://h"},
            "state.sentinel_password_file: redis://h has no sentinels; redis+sentinel:// does",
        ),
        (
            {"ENGAGEMENT_STATE_SSL_CAFILE": "a", "ENGAGEMENT_STATE_URL": "redis+sentinel://h/m"},
            "redis+sentinel://h/m does not speak TLS; rediss+sentinel:// does",
        ),
        ({"ENGAGEMENT_STATE_SSL_CAFILE": "a", "ENGAGEMENT_STATE_URL": "redis://h"}, "redis://h does not speak TLS"),
        ({"ENGAGEMENT_STATE_SSL_KEYFILE": "a", "ENGAGEMENT_STATE_URL": "rediss://h"}, "with its key only"),
        (
            {"ENGAGEMENT_STATE_PASSWORD_FILE": "a", "ENGAGEMENT_STATE_URL": "redis://:b@h"},
            "state.password_file: state.url has a password already: redis://:********@h",
        ),
        ({"ENGAGEMENT_STATE_PASSWORD_FILE": "a"}, "state.password_file: rocksdb://engagement-state is no Redis"),
        ({"ENGAGEMENT_TOPICS_LOGINS": "sessions"}, "topics: sessions, logins and surveys need topics of their own"),
        ({"ENGAGEMENT_APP_ID": ""}, "app_id: '' is no name"),
        ({"ENGAGEMENT_APP_ID": "../x y"}, "app_id: '../x y' is no name of letters"),
        ({"ENGAGEMENT_TOPICS_SESSIONS": "logins.dlq"}, "topics: sessions, logins and surveys need topics of their own"),
        ({"ENGAGEMENT_TOPICS_REPLICATION": "0"}, "topics.replication: 0 is neither"),
        ({"ENGAGEMENT_STATE_CHECKPOINT_INTERVAL": "0s"}, "state.checkpoint_interval: 0s is less than 1s"),
        ({"ENGAGEMENT_WINDOWS_SESSIONS": "24h,1d"}, "windows.sessions: a window is named twice: 24h, 1d"),
        ({"ENGAGEMENT_ALLOWED_LATENESS": "31d"}, "allowed_lateness: 31d is more than 30d"),
        ({"ENGAGEMENT_SESSION_CAP": "97h"}, "session_cap: 97h is more than 4d"),
    ],
)
def test_what_can_not_be_is_refused_by_name_and_value(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, environment)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timezon = 'UTC'", "unknown setting: timezon"),
        ("[kafka]\nserver = 'x'", "unknown setting: kafka.server"),
        ("[topics]\npartitions = 'two'", "topics.partitions: expected `int`"),
        ("kafka = 'x'", "kafka: expected `object`"),
        ("= 1", "settings.toml"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)

    with pytest.raises(SettingsError) as refused:
        load(file, {})

    assert message in str(refused.value)


INPUTS = """
[[inputs]]
topic = "web.clicks"
kind = "sessions"
name = "web"

[[inputs]]
topic = "app.clicks"
kind = "sessions"
"""


SEGMENT = '[[inputs]]\ntopic = "a"\nformat = "segment"\n'
QUESTION = '[[inputs]]\ntopic = "a"\nformat = "formbricks"\n[[inputs.questions]]\nquestion = "Q1"\n'


def settings_of(tmp_path: Path, text: str, **variables: str) -> Settings:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    return load(file, variables)


def test_without_a_table_of_inputs_each_kind_is_read_from_its_topic() -> None:
    settings = load(None, {"ENGAGEMENT_TOPICS_LOGINS": "app.logins"})

    assert settings.input_topics == {"sessions": "sessions", "logins": "app.logins", "surveys": "surveys"}
    assert list(settings.readers) == ["sessions", "logins", "surveys"]


def test_inputs_are_the_topics_of_the_table_and_no_others(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, INPUTS)

    assert settings.input_topics == {"web": "web.clicks", "app.clicks": "app.clicks"}
    assert list(settings.readers) == ["web", "app.clicks"]
    assert [one.format for one in settings.inputs] == ["native", "native"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[inputs]]\ntopic = "a"', "inputs: the 1. table ('a'): kind '' is none of sessions, logins, surveys"),
        ('[[inputs]]\nformat = "auto"', "inputs[0]: object missing required field `topic`"),
        (SEGMENT + 'kind = "logins"', "('a'): kind 'logins' has no effect on the format segment"),
        (SEGMENT + 'user = "customer"', "('a'): user has no effect on the format segment"),
        (SEGMENT + 'inside = "native"', "('a'): inside has no effect on the format segment"),
        (SEGMENT + 'zone = "Berlin"', "('a'): zone: 'Berlin' is no IANA time zone"),
        (SEGMENT + 'time = "now"', "invalid enum value 'now'"),
        (
            SEGMENT.replace("segment", "qualtrics"),
            "its messages do not say what a question asks for",
        ),
        (SEGMENT.replace("segment", "cloudevents") + 'inside = "xml"', "inside 'xml' is none of native, auto, segment"),
        (SEGMENT.replace("segment", "cloudevents") + 'inside = "native"', "kind '' is none of sessions"),
        (
            SEGMENT.replace("segment", "cloudevents") + 'user = "subject"',
            "user has no effect on the format auto inside of cloudevents",
        ),
        (QUESTION + 'kind = "csi"', "inputs[0].questions[0].kind"),
        (QUESTION + 'kind = "nps"\nscale_max = 5', "question 'Q1': 0 to 5 is no scale of nps"),
        (QUESTION + 'kind = "csat"\nscale_min = 5', "question 'Q1': 5 to 5 is no scale of csat"),
        (QUESTION + 'kind = "cxi"', "question 'Q1': a dimension is that of a cxi"),
        (QUESTION + 'kind = "nps"\ndimension = "effort"', "question 'Q1': a dimension is that of a cxi"),
        (QUESTION + 'kind = "csat"\nscores = { Good = 6 }', "the score 6 of 'Good' is not on its scale, 1 to 5"),
        (QUESTION + 'kind = "nps"\n' + QUESTION.split("\n", 3)[3] + 'kind = "nps"', "question 'Q1': it is named twice"),
        (QUESTION.replace("Q1", " ") + 'kind = "nps"', "it needs the id, reference or key of a question"),
        ('[[inputs]]\ntopic = "a"\nkind = "logins"\ntopics = 1', "unknown setting: inputs[0].topics"),
        ('[[inputs]]\ntopic = "a"\nkind = "log"', "inputs: the 1. table ('a'): kind 'log' is none of sessions, logins"),
        ('[[inputs]]\ntopic = "a"\nkind = "logins"\nformat = "xml"', "format 'xml' is none of native"),
        (SEGMENT + 'encoding = "xml"', "encoding 'xml' is none of json, registry, avro"),
        (SEGMENT + 'encoding = "registry"', "('a'): encoding 'registry' needs registry.url"),
        (
            SEGMENT + 'encoding = "avro"',
            "('a'): schema, the file with a schema of Avro, is missing for the encoding avro",
        ),
        (SEGMENT + 'schema = "a.avsc"', "schema, the file with a schema of Avro, has no effect on the encoding json"),
        (SEGMENT + 'envelope = "soap"', "envelope 'soap' is none of none, debezium"),
        (INPUTS + 'name = "web"', "inputs: two have one name: web, web"),
        (
            INPUTS.replace("app.clicks", "web.clicks"),
            "each needs a topic of its own, not web.clicks, web.clicks",
        ),
        (INPUTS.replace("app.clicks", "a b"), "inputs: the topic of 'a b': 'a b' is no name of letters"),
        (INPUTS + '[topics]\nlogins = "app.logins"', "topics.logins: 'app.logins' has no effect beside [[inputs]]"),
    ],
)
def test_an_input_that_can_not_be_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_of(tmp_path, text)

    assert message in str(refused.value)


def test_an_input_of_another_format_says_what_its_messages_do_not(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        f"""
{SEGMENT}
key_events = ["Order Completed"]
[[inputs]]
topic = "surveys"
format = "typeform"
user = "customer"
[[inputs.questions]]
question = "support"
kind = "csat"
scale_max = 3
scores = {{ Good = 3 }}
""",
    )

    segment, typeform = settings.inputs
    assert segment.key_events == ("Order Completed",)
    assert (typeform.user, typeform.questions[0].scores) == ("customer", {"Good": 3})
    assert list(settings.readers) == ["a", "surveys"]


def test_inputs_are_tables_which_no_variable_can_hold() -> None:
    with pytest.raises(SettingsError, match=r"write \[\[inputs\]\] in the settings file"):
        load(None, {"ENGAGEMENT_INPUTS": "sessions"})


def test_windows_that_no_family_has_are_unknown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"unknown setting: windows\.weather"):
        settings_of(tmp_path, '[windows]\nweather = ["1d"]')
    with pytest.raises(SettingsError, match=r"windows\.surveys: needs at least one window"):
        settings_of(tmp_path, "[windows]\nsurveys = []")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml"):
        load(tmp_path / "none.toml", {})


def test_a_password_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    settings = load(None, {"ENGAGEMENT_KAFKA_SASL_PASSWORD_FILE": str(secret)})
    given = load(None, {"ENGAGEMENT_KAFKA_SASL_PASSWORD": "hunter3"})

    assert settings.sasl_password() == "hunter2"
    assert given.sasl_password() == "hunter3"
    assert "hunter" not in str([*setting_values(settings), *setting_values(given), settings, given])


def test_the_password_of_redis_is_read_from_the_url_or_its_file_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    url = {"ENGAGEMENT_STATE_URL": "rediss://app@h:1/2"}
    settings = load(None, {**url, "ENGAGEMENT_STATE_PASSWORD_FILE": str(secret)})
    given = load(None, {"ENGAGEMENT_STATE_URL": "redis://app:hunter%2F3@h"})
    missing = load(None, {**url, "ENGAGEMENT_STATE_PASSWORD_FILE": "/none"})

    assert settings.redis_password() == "hunter2"
    assert given.redis_password() == "hunter/3"
    assert "hunter" not in str([*setting_values(settings), *setting_values(given), settings, given, given.state])
    assert dict(setting_values(given))["state.url"] == "redis://app:********@h"
    with pytest.raises(SettingsError, match=r"state\.password_file: can't read '/none': No such file"):
        missing.redis_password()


def test_a_url_of_no_store_is_told_all_that_there_are() -> None:
    with pytest.raises(SettingsError) as refused:
        load(None, {"ENGAGEMENT_STATE_URL": "rockdb:///var/lib/engagement"})

    named = str(refused.value).partition(" begins with none of ")[2].split(", ")
    assert named == ["rocksdb://", "memory://", *(f"{scheme}://" for scheme in SCHEMES)]
    for scheme in named:
        place = {"memory://": "", "unix://": "/run/redis.sock"}.get(scheme, "h/m" if "sentinel" in scheme else "h")
        load(None, {"ENGAGEMENT_STATE_URL": f"{scheme}{place}"})


def test_the_password_of_the_sentinels_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter4\n")
    url = {"ENGAGEMENT_STATE_URL": "redis+sentinel://:hunter2@h/m"}
    settings = load(None, {**url, "ENGAGEMENT_STATE_SENTINEL_PASSWORD_FILE": f"{tmp_path}/password"})

    assert settings.sentinel_password() == "hunter4"
    assert load(None, url).sentinel_password() == ""
    assert settings.secrets() == ["hunter2", "hunter4"]
    assert "hunter" not in str([*setting_values(settings), settings])


def test_a_section_that_is_a_text_is_refused_also_when_a_variable_wants_to_be_in_it(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('kafka = "x"')

    with pytest.raises(SettingsError, match=r"kafka: expected a section of settings, \[kafka\], not a value"):
        load(file, {"ENGAGEMENT_KAFKA_SERVERS": "y:1"})


def test_secrets_are_those_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "kafka").write_text("hunter2\n")
    settings = load(
        None,
        {
            "ENGAGEMENT_KAFKA_SASL_PASSWORD_FILE": f"{tmp_path}/kafka",
            "ENGAGEMENT_STATE_URL": "redis://h",
            "ENGAGEMENT_STATE_PASSWORD_FILE": f"{tmp_path}/none",
        },
    )

    assert settings.secrets() == ["hunter2"]
    assert load(None, {}).secrets() == []
    assert load(None, {"ENGAGEMENT_STATE_URL": "redis://:hunter%2F3@h"}).secrets() == ["hunter%2F3", "hunter/3"]


def test_a_byte_order_mark_is_no_part_of_a_password_nor_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xef\xbb\xbfhunter2\r\n")
    (tmp_path / "settings.toml").write_bytes(b'\xef\xbb\xbfapp_id = "mine"\r\n')
    settings = load(
        tmp_path / "settings.toml",
        {
            "ENGAGEMENT_KAFKA_SASL_PASSWORD_FILE": f"{tmp_path}/password",
            "ENGAGEMENT_STATE_URL": "redis://h",
            "ENGAGEMENT_STATE_PASSWORD_FILE": f"{tmp_path}/password",
        },
    )

    assert settings.app_id == "mine"
    assert settings.sasl_password() == settings.redis_password() == "hunter2"
    assert settings.secrets() == ["hunter2"]


OAUTH = {
    "ENGAGEMENT_KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "ENGAGEMENT_KAFKA_OAUTH_TOKEN_URL": "https://login.example/token",
    "ENGAGEMENT_KAFKA_OAUTH_CLIENT_ID": "engagement",
    "ENGAGEMENT_KAFKA_OAUTH_CLIENT_SECRET_FILE": "/run/secrets/client",
}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"SASL_MECHANISM": "PLAIN"}, "kafka.oauth_token_url: has no effect on kafka.sasl_mechanism 'PLAIN'"),
        ({"OAUTH_TOKEN_URL": ""}, "kafka.oauth_token_url: is missing for kafka.sasl_mechanism 'OAUTHBEARER'"),
        ({"OAUTH_CLIENT_ID": ""}, "kafka.oauth_client_id: is missing for kafka.sasl_mechanism 'OAUTHBEARER'"),
        ({"OAUTH_CLIENT_SECRET_FILE": ""}, "kafka.oauth_client_secret_file: is missing for"),
        (
            {"OAUTH_TOKEN_URL": "ftp://login.example/token"},
            "kafka.oauth_token_url: 'ftp://********' is no http or https URL",
        ),
        ({"OAUTH_TOKEN_URL": "https://:443/token"}, "kafka.oauth_token_url: "),
        ({"OAUTH_TOKEN_URL": "https://login.example:port/token"}, "kafka.oauth_token_url: "),
        ({"OAUTH_TOKEN_URL": "https://app:secret@login.example/token"}, "kafka.oauth_token_url: "),
        ({"SASL_USERNAME": "ada"}, "kafka.sasl_username: has no effect on kafka.sasl_mechanism 'OAUTHBEARER'"),
        ({"SASL_PASSWORD": "hunter2"}, "kafka.sasl_password: has no effect on kafka.sasl_mechanism 'OAUTHBEARER'"),
        ({"OAUTH_EXTENSIONS": "auth=other"}, "kafka.oauth_extensions: 'auth=********' is no name=value"),
        ({"OAUTH_EXTENSIONS": "pool"}, "kafka.oauth_extensions: 'pool' is no name=value"),
    ],
)
def test_what_tokens_are_asked_for_with_is_checked(given: dict[str, str], told: str) -> None:
    load(None, OAUTH)

    with pytest.raises(SettingsError) as raised:
        load(None, {**OAUTH, **{f"ENGAGEMENT_KAFKA_{name}": value for name, value in given.items()}})

    assert str(raised.value).startswith(told)
    assert "hunter2" not in str(raised.value)
    assert "secret@" not in str(raised.value)


def test_a_password_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\xfe")
    settings = load(None, {"ENGAGEMENT_KAFKA_SASL_PASSWORD_FILE": f"{tmp_path}/password"})

    with pytest.raises(SettingsError, match=r"kafka\.sasl_password_file: '.*/password' is no UTF-8 text"):
        settings.sasl_password()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('url = "registry:8081"', "registry.url: '********' is no http://HOST:PORT"),
        ('url = "http://a b"', "is no http://HOST:PORT"),
        ('url = "http://me:secret@host"', "registry.url: 'http://me:********@host': credentials belong in"),
        ('username = "me"', "registry.username: it has no effect without registry.url"),
        ('url = "http://host"\nusername = "me"', "registry.username and registry.password_file: one is of use"),
        ('url = "https://host"\nssl_keyfile = "/a"', "registry.ssl_certfile and registry.ssl_keyfile: one is of use"),
        ('url = "http://host"\nssl_cafile = "/a"', "http://host does not speak TLS; https:// does"),
        ('url = "http://host"\ntimeout = "2m"', "registry.timeout: 2m is more than 1m"),
    ],
)
def test_a_registry_that_can_not_be_is_named_without_its_secrets(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_of(tmp_path, f"[registry]\n{text}")

    assert message in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_registry_may_have_a_path_and_several_addresses_which_are_shown(tmp_path: Path) -> None:
    url = "http://one:8081/apis/ccompat/v7, https://two"

    settings = settings_of(tmp_path, f'[registry]\nurl = "{url}"')

    assert dict(setting_values(settings))["registry.url"] == url.replace(" ", "")


def test_a_schema_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.avsc"
    broken.write_text("{")
    for file, told in ((broken, "no schema of Avro"), (tmp_path / "none.avsc", "No such file")):
        text = f'[[inputs]]\ntopic = "a"\nkind = "logins"\nencoding = "avro"\nschema = "{file}"'

        with pytest.raises(SettingsError, match=rf"inputs: the schema of 'a': .*{told}"):
            settings_of(tmp_path, text).decoders(Schemas())
