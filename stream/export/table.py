"""Numbers for people: the headline table of a terminal, and the result of `engagement compute`."""

from collections.abc import Iterable, Mapping

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from stream.core.catalogue import BY_NAME
from stream.core.offline import Computed
from stream.core.samples import Sample
from stream.core.segments import UNKNOWN
from stream.core.time import date_of, iso, minutes_of

Values = Mapping[tuple[str, str], float]


def print_computed(computed: Computed, console: Console) -> None:
    """Print all numbers, with a row for each metric and a column for each window, except counts that are all 0."""
    if computed.at_ms >= 0:
        console.print(_windows_table(f"live at {iso(computed.at_ms)}", computed.live))
    else:
        console.print("no event")
    for day, samples in computed.closed:
        console.print(_windows_table(f"closed day {date_of(day)}", samples))
    console.print("events: " + ", ".join(f"{count:,} {outcome}" for outcome, count in computed.events.items()))
    if computed.left_out:
        told = ", ".join(f"{count:,} {word}" for word, count in computed.left_out.items())
        console.print(f"told and not counted: {told}")


def _windows_table(title: str, samples: Iterable[Sample]) -> Table:
    rows: dict[str, dict[str, float]] = {}
    derived = set()
    listed = list(samples)
    # Of a segment that no event tells all is unknown, which says nothing that the whole does not.
    told = {one.labels["segment"] for one in listed if one.labels.get("value", UNKNOWN) != UNKNOWN}
    for sample in listed:
        if sample.labels.get("segment") not in (None, *told):
            continue
        if not sample.name.endswith(("_lower", "_upper")):
            rest = ", ".join(value for label, value in sample.labels.items() if label != "window")
            name = f"{sample.name.removeprefix('engagement_')} {rest}".strip()
            if BY_NAME[sample.name].parts:
                derived.add(name)
            rows.setdefault(name, {})[sample.labels.get("window", "")] = sample.value
    # A ratio of 0 is a measurement. A count of 0 in every window means that no such events are sent.
    shown = {name: values for name, values in rows.items() if name in derived or any(values.values())}
    windows = dict.fromkeys(window for values in shown.values() for window in values)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    # Metrics without windows come first.
    ordered = sorted(windows, key=lambda window: minutes_of(window) if window else 0)
    for window in ordered:
        table.add_column(window, justify="right")
    for name, values in shown.items():
        table.add_row(Text(name), *(number(values.get(window)) for window in ordered))
    return table


def number(value: float | None) -> str:
    """A value for people. An undefined one is a dash, and not 0."""
    if value is None:
        return "–"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.1f}"


def headline(live: list[Sample], closed: list[Sample]) -> Table:
    """The most important numbers: for each its name, its value now, its 95 % interval, and the last closed day."""
    values = {_key(sample): sample.value for sample in (*live, *closed)}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, width in (("", 33), ("now", 8), ("95 % interval", 16), ("last closed day", 15)):  # 80 in all
        table.add_column(column, justify="right" if column else "left", min_width=width, no_wrap=True)
    for title, name, labels, closed_name, share in _HEADLINES:
        now, lower, upper = (values.get((f"{name}{end}", labels)) for end in ("", "_lower", "_upper"))
        interval = f"{_shown(lower, share)} to {_shown(upper, share)}" if lower is not None else ""
        on_closed_day = _shown(values.get((closed_name, labels)), share) if closed_name else ""
        table.add_row(title, Text(_shown(now, share), style="bold cyan"), interval, on_closed_day)
    return table


def _key(sample: Sample) -> tuple[str, str]:
    return sample.name, ",".join(sample.labels.values())


def _shown(value: float | None, share: bool) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if share else number(round(value, 1))


_CLOSED = "engagement_active_users_closed"
# Title, metric, its labels, the metric of the same number on closed days, and whether it is a share.
_HEADLINES = (
    ("daily active users (DAU)", "engagement_active_users", "1d", _CLOSED, False),
    ("weekly active users (WAU)", "engagement_active_users", "7d", _CLOSED, False),
    ("monthly active users (MAU)", "engagement_active_users", "30d", _CLOSED, False),
    ("stickiness, DAU/MAU", "engagement_stickiness_ratio", "30d", "engagement_stickiness_closed_ratio", True),
    ("active in the last 5 minutes", "engagement_active_users", "5m", "", False),
    ("open sessions", "engagement_open_sessions", "", "", False),
    ("sessions, last day", "engagement_sessions", "1d", "", False),
    ("session time, median of a day, s", "engagement_session_duration_seconds", "1d,0.5", "", False),
    ("bounce, GA4 rule, last day", "engagement_bounce_ratio", "1d,ga4", "", True),
    ("CSAT, 30 days", "engagement_csat_ratio", "30d", "", True),
    ("NPS, 30 days", "engagement_nps", "30d", "", False),
    ("CES, easy, 30 days", "engagement_ces_ratio", "30d", "", True),
)
assert all(name in BY_NAME for _, name, _, _, _ in _HEADLINES)


def screen(live: list[Sample], closed: list[Sample], lines: Iterable[str]) -> Group:
    """The headline table with lines of text under it."""
    return Group(headline(live, closed), Text(""), *(Text(line) for line in lines))
