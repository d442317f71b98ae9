"""Check that a Redis server can be trusted with state: nothing that was written may disappear."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from stream.core.store import StoreFailed, StoreUnavailable
from stream.masking import masked
from stream.settings import SettingsError, State

log = structlog.get_logger(__name__)


def check_server(server: str, info: Mapping[str, Any], *, cluster: bool) -> None:
    """Check a server by its answer to INFO. `cluster` says whether `state.url` names a cluster.

    Raises StoreUnavailable for a problem that passes, StoreFailed for one that somebody must mend.
    """
    problem = f"redis at {server}"
    if info.get("cluster_enabled") and not cluster:
        raise StoreFailed(f"{problem} is a node of a Redis Cluster: state.url must begin with redis+cluster://")
    if info.get("role") == "slave":
        raise StoreUnavailable(f"{problem} is a replica, which takes no writes")
    if info.get("loading"):
        raise StoreUnavailable(f"{problem} is loading its data")
    check_keeps_state(server, info)


def check_keeps_state(server: str, info: Mapping[str, Any]) -> None:
    """Check that a server, or a replica that may take its place, removes nothing. Raises StoreFailed."""
    problem = f"redis at {server}"
    policy = info.get("maxmemory_policy")
    # The volatile-* policies evict only keys with a time to live, and our keys have none.
    if str(policy).startswith("allkeys"):
        mend = "CONFIG SET maxmemory-policy noeviction"
        raise StoreFailed(
            f"{problem} evicts state when memory is short: maxmemory-policy is {policy}; mend it with: {mend}"
        )
    if policy is None:
        log.warning("redis does not say whether it evicts: its maxmemory-policy must be noeviction", server=server)
    if not info.get("aof_enabled"):
        what = "redis keeps no append-only file: a crash takes the last writes, and the worker refuses what is left"
        log.warning(what, server=server)


def check_certificates(state: State) -> None:
    """Check that the TLS files of the settings can be used. Raises SettingsError."""
    context = ssl.create_default_context()
    if state.ssl_cafile:
        with _errors_name_setting("state.ssl_cafile", masked("ssl_cafile", state.ssl_cafile)):
            context.load_verify_locations(state.ssl_cafile)
    if state.ssl_certfile:
        files = masked("ssl_certfile", state.ssl_certfile), masked("ssl_keyfile", state.ssl_keyfile)
        with _errors_name_setting("state.ssl_certfile and state.ssl_keyfile", ", ".join(files)):
            context.load_cert_chain(state.ssl_certfile, state.ssl_keyfile)


@contextmanager
def _errors_name_setting(places: str, files: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"{places}: can't use {files}: {error.strerror or error}") from None
