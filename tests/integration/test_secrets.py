"""Passwords of Kafka and Redis work end to end, and nothing that a run writes, serves or shows has them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.integration.deployment import Deployment, simulated
from tests.integration.fixtures import Deploy, a_kafka_of
from tests.integration.secured_kafka import SecuredKafka
from tests.integration.test_several_workers import children_of
from tests.state.redis_server import RedisServer, RedisUnavailable, redis_program, skip_without_redis, speaks_tls

pytestmark = pytest.mark.executed  # the command line that a user sees must be its own

USER = "worker"
OF_KAFKA, OF_REDIS, WRONG = "kafka-Oth3llo", "redis-1ago", "wrong-De5demona"

RunRedis = Callable[..., RedisServer]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates of one authority: of servers and of a client, as Redis takes them."""
    folder, authority = tmp_path_factory.mktemp("certificates"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
    return folder


@pytest.fixture(scope="module")
def secured_kafka(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A Kafka with a listener for those who have the password."""
    folder = tmp_path_factory.mktemp("kafka-certificates")
    key = load_pem_private_key((certificates / "server.key").read_bytes(), None)
    as_kafka_wants_it = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate = folder / "server.pem"
    certificate.write_bytes(as_kafka_wants_it + (certificates / "server.pem").read_bytes())
    with a_kafka_of(SecuredKafka, certificate=certificate, user=USER, password=OF_KAFKA) as server:
        yield server


@pytest.fixture
def secured_redis(run_redis: RunRedis, certificates: Path) -> RedisServer:
    """A Redis that speaks TLS alone, to those who have the password."""
    try:
        if not speaks_tls(redis_program()):
            raise RedisUnavailable(f"{redis_program()} was built without TLS (install Debian's redis-server)")
    except RedisUnavailable as error:
        skip_without_redis(error)
    return run_redis(password=OF_REDIS, tls=certificates, options={"appendonly": "yes"})


@pytest.fixture
def deployment(
    secured_kafka: SecuredKafka, secured_redis: RedisServer, deploy: Deploy, certificates: Path, tmp_path: Path
) -> Deployment:
    """A deployment whose processes have their passwords from files."""
    for name, password in (("kafka", OF_KAFKA), ("redis", OF_REDIS), ("wrong", WRONG)):
        (tmp_path / f"{name}.password").write_text(f"{password}\n")
    return deploy(
        secured_kafka.address,
        **{
            "kafka.servers": secured_kafka.secured_address,
            "kafka.security_protocol": "SASL_SSL",
            "kafka.sasl_username": USER,
            "kafka.sasl_password_file": f"{tmp_path}/kafka.password",
            "kafka.ssl_cafile": f"{certificates}/ca.pem",
            "state.url": f"rediss://127.0.0.1:{secured_redis.port}",
            "state.password_file": f"{tmp_path}/redis.password",
            "state.ssl_cafile": f"{certificates}/ca.pem",
            "log.level": "debug",
        },
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_run_has_every_number_and_shows_no_password(deployment: Deployment, mechanism: str) -> None:
    program = deployment.start(ENGAGEMENT_KAFKA_SASL_MECHANISM=mechanism, ENGAGEMENT_WORKER_PROCESSES="2")
    program.wait_until_ready()
    deployment.send(simulated(users=50, days=5))
    deployment.send_to_every_partition()
    deployment.wait_until_every_gauge_equals_the_recount(program)
    shown = [program.get(path)[1] for path in ("/metrics", "/api/v1/metrics", "/readyz", "/")]
    shown += [Path(f"/proc/{pid}/cmdline").read_text() for pid in (program.pid, *children_of(program.pid))]
    program.terminate()
    assert program.wait_for_exit() == 0
    settings = deployment.command("settings")

    assert len(shown) == 4 + 4  # pages; the command, its server and two workers
    assert "kafka.sasl_username" in settings.stdout
    assert "SaslAuthenticate" in program.log or mechanism != "PLAIN"  # else the log would show nothing in any case
    assert passwords_in(*shown, program.log, settings.stdout, settings.stderr) == []


def test_a_password_in_a_variable_is_shown_no_more_than_one_in_a_file(
    deployment: Deployment, secured_redis: RedisServer
) -> None:
    given = {
        "ENGAGEMENT_KAFKA_SASL_PASSWORD_FILE": "",
        "ENGAGEMENT_KAFKA_SASL_PASSWORD": OF_KAFKA,
        "ENGAGEMENT_STATE_PASSWORD_FILE": "",
        "ENGAGEMENT_STATE_URL": secured_redis.url,
    }
    settings = deployment.command("settings", **given)
    worker = deployment.start("worker", **given)
    worker.wait_until(lambda: worker.partitions, "partitions taken over")
    secured_redis.kill()
    deployment.send(simulated(users=20, days=2))
    worker.wait_until(lambda: "the state can't be reached" in worker.log, "it misses Redis")
    worker.terminate()
    worker.wait_for_exit()

    assert OF_REDIS in secured_redis.url
    assert passwords_in(settings.stdout, settings.stderr, worker.log) == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ENGAGEMENT_KAFKA_SASL_PASSWORD_FILE", "engagement: cannot reach a Kafka broker at 127.0.0.1:"),
        ("ENGAGEMENT_STATE_PASSWORD_FILE", "engagement: redis at rediss://127.0.0.1:"),
    ],
)
def test_a_wrong_password_is_told_without_it(deployment: Deployment, tmp_path: Path, setting: str, told: str) -> None:
    worker = deployment.start("worker", **{setting: f"{tmp_path}/wrong.password"})

    assert worker.wait_for_exit() == 1
    assert worker.log.splitlines()[-1].startswith(told)
    assert passwords_in(worker.log) == []


def passwords_in(*texts: str) -> list[str]:
    """The passwords that some texts have, as they are or in base64."""
    found = []
    for password in (OF_KAFKA, OF_REDIS, WRONG):
        encoded = base64.b64encode(password.encode()).decode().rstrip("=")[:-1]
        found += [form for form in (password, encoded) if any(form in text for text in texts)]
    return found
