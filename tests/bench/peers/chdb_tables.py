"""The events in tables of ClickHouse, and the headline numbers asked of them: what a team would have without a stream.

chDB is ClickHouse in a wheel. Each topic is a MergeTree table in order of time and user; a line of JSON becomes a row
as it would behind ClickHouse's Kafka engine. The headline numbers of the last 30 days are three queries.

    python -m tests.bench.peers.chdb_tables DIRECTORY

keeps its tables in DIRECTORY and does what each line of its standard input asks for, answering with a line of JSON:
`load FOLDER` takes in FOLDER/sessions.jsonl, logins.jsonl and surveys.jsonl and tells rows and seconds; `refresh MS`
tells the numbers as of MS since 1970, and seconds.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from chdb import session

_TABLES = (
    """CREATE TABLE IF NOT EXISTS sessions (
        at DateTime64(3, 'UTC'), user String, type LowCardinality(String), session_id String, interactive Bool,
        key_event Bool, page_views UInt32, key_events UInt32, started_at Nullable(DateTime64(3, 'UTC'))
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (toDate(at), user, at)""",
    """CREATE TABLE IF NOT EXISTS logins (
        at DateTime64(3, 'UTC'), user String, success Bool
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (toDate(at), user, at)""",
    """CREATE TABLE IF NOT EXISTS surveys (
        at DateTime64(3, 'UTC'), user String, kind LowCardinality(String), status LowCardinality(String),
        response_id String, score Nullable(Float64)
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (toDate(at), user, at)""",
)

# Times are texts or numbers of ms: as DateTime64 a bare number would be seconds.
_COMMON = "event_time String, user_id String, anonymous_id String"
_AT_AND_USER = "parseDateTime64BestEffort(event_time, 3, 'UTC'), if(empty(user_id), anonymous_id, user_id)"
_LOADS = {
    "sessions": (
        f"""{_COMMON}, type String, session_id String, interactive Nullable(Bool), key_event Bool, page_views UInt32,
            key_events UInt32, started_at String""",
        f"""{_AT_AND_USER}, type, session_id, ifNull(interactive, true), key_event, page_views, key_events,
            parseDateTime64BestEffortOrNull(started_at, 3, 'UTC')""",
    ),
    "logins": (f"{_COMMON}, success Nullable(Bool)", f"{_AT_AND_USER}, ifNull(success, true)"),
    "surveys": (
        f"{_COMMON}, kind String, status String, response_id String, score Nullable(Float64)",
        f"{_AT_AND_USER}, kind, status, response_id, score",
    ),
}

_ACTIVE = """
SELECT uniqExactIf(user, at > now - INTERVAL 1 DAY) AS active_1d,
    uniqExactIf(user, at > now - INTERVAL 7 DAY) AS active_7d, uniqExact(user) AS active_30d
FROM (
    SELECT user, at FROM sessions WHERE interactive AND type != 'end' AND at > now - INTERVAL 30 DAY AND at <= now
    UNION ALL
    SELECT user, at FROM logins WHERE success AND at > now - INTERVAL 30 DAY AND at <= now
)"""

_SESSIONS = """
SELECT count() AS sessions, round(avg(duration_ms)) AS mean_duration_ms, countIf(views > 0) AS with_views,
    countIf(views = 1 AND keys = 0) AS bounced
FROM (
    SELECT dateDiff('millisecond', min(ifNull(started_at, at)), max(at)) AS duration_ms,
        countIf(type IN ('page_view', 'screen_view')) + max(page_views) AS views,
        countIf(key_event) + max(key_events) AS keys
    FROM sessions WHERE session_id != '' AND at > now - INTERVAL 30 DAY AND at <= now
    GROUP BY session_id
)"""

_LOGINS_AND_CSAT = """
SELECT (SELECT countIf(success) FROM logins WHERE at > now - INTERVAL 30 DAY AND at <= now) AS logins,
    count() AS csat_answers, countIf(last_score >= 4) AS csat_satisfied
FROM (
    SELECT argMax(score, at) AS last_score, argMax(status, at) AS last_status FROM surveys
    WHERE kind = 'csat' AND status IN ('completed', 'partial', 'retracted') AND at > now - INTERVAL 30 DAY AND at <= now
    GROUP BY response_id
)
WHERE last_status != 'retracted'"""


class Tables:
    """The three tables in a folder."""

    def __init__(self, directory: str) -> None:
        self._session = session.Session(directory)
        self._session.query("CREATE DATABASE IF NOT EXISTS engagement")
        self._session.query("USE engagement")
        for table in _TABLES:
            self._session.query(table)

    def load(self, folder: str) -> dict[str, Any]:
        """Take in the events of three files."""
        before, began = self._rows(), time.perf_counter()
        for table, (structure, values) in _LOADS.items():
            path = f"{folder}/{table}.jsonl"
            self._session.query(
                f"INSERT INTO {table} SELECT {values} FROM file('{path}', 'JSONEachRow', '{structure}')"
            )
        seconds = time.perf_counter() - began
        return {"rows": self._rows() - before, "seconds": seconds}

    def refresh(self, now_ms: int) -> dict[str, Any]:
        """The headline numbers as of a moment."""
        began = time.perf_counter()
        numbers: dict[str, Any] = {}
        for query in (_ACTIVE, _SESSIONS, _LOGINS_AND_CSAT):
            numbers |= self._row(f"WITH fromUnixTimestamp64Milli({now_ms}, 'UTC') AS now {query}")
        return {"seconds": time.perf_counter() - began, "numbers": numbers}

    def _rows(self) -> int:
        return sum(int(self._row(f"SELECT count() AS rows FROM {table}")["rows"]) for table in _LOADS)

    def _row(self, query: str) -> dict[str, Any]:
        row: dict[str, Any] = json.loads(
            str(self._session.query(f"{query} SETTINGS output_format_json_quote_64bit_integers = 0", "JSONEachRow"))
        )
        return row


if __name__ == "__main__":
    tables = Tables(sys.argv[1])
    for line in sys.stdin:
        what, _, argument = line.strip().partition(" ")
        answer = tables.load(argument) if what == "load" else tables.refresh(int(argument))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
