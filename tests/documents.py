"""The pages that people read, and their tables that are made from code: `python -m tests.documents` writes them anew.

A table lies between `<!-- name -->` and `<!-- /name -->`; the rest of a page is written by hand.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import yaml

from stream import settings
from stream.core.catalogue import BUSINESS, CATALOGUE
from stream.core.families import cross_family
from stream.core.families.registry import FAMILIES, windows
from stream.core.metrics import Metric
from stream.core.reconciliation.tools import TOOLS
from stream.inputs import registry as formats
from stream.inputs.options import Options, Question
from stream.kafka import rights
from stream.settings.checks import RANGES, WINDOW_RANGE
from tests import series_table

REPOSITORY = Path(__file__).parent.parent
README = REPOSITORY / "README.md"
ARCHITECTURE = REPOSITORY / "stream" / "ARCHITECTURE.md"
METRICS = REPOSITORY / "stream" / "METRICS.md"
FORMATS = REPOSITORY / "stream" / "FORMATS.md"
SETTINGS = REPOSITORY / "stream" / "SETTINGS.md"
COMMANDS = REPOSITORY / "stream" / "COMMANDS.md"
RECONCILIATION = REPOSITORY / "stream" / "RECONCILIATION.md"
PRIVACY = REPOSITORY / "stream" / "PRIVACY.md"
API = REPOSITORY / "stream" / "API.md"
DEPLOYMENT = REPOSITORY / "deploy" / "DEPLOYMENT.md"
OPERATIONS = REPOSITORY / "deploy" / "OPERATIONS.md"
CAPACITY = REPOSITORY / "deploy" / "CAPACITY.md"
ALERTS = REPOSITORY / "deploy" / "ALERTS.md"
PROMISES = REPOSITORY / "tests" / "PROMISES.md"

# The pages that README.md leads to.
PAGES = (
    METRICS,
    FORMATS,
    SETTINGS,
    COMMANDS,
    RECONCILIATION,
    PRIVACY,
    API,
    DEPLOYMENT,
    OPERATIONS,
    CAPACITY,
    ALERTS,
    ARCHITECTURE,
    PROMISES,
)

# The live page in README.md, as `make picture` takes it.
PICTURES = {"light": REPOSITORY / "deploy" / "live-page.png", "dark": REPOSITORY / "deploy" / "live-page-dark.png"}

_COMMENT = re.compile(r"^    (?P<field>\w+): .*\S  # (?P<comment>.+)$", re.MULTILINE)
_NEEDED = "needed"


def metrics() -> str:
    """A table a family, with a row a metric: name, labels and what it means."""
    groups = {family.name.capitalize(): family.metrics for family in FAMILIES}
    groups["Several families"] = cross_family.METRICS
    groups["The pipeline"] = tuple(metric for metric in CATALOGUE if metric not in BUSINESS)
    return "\n\n".join(f"### {title}\n\n{_metrics_table(listed)}" for title, listed in groups.items())


def _metrics_table(listed: Iterable[Metric]) -> str:
    rows = ((f"`{metric.name}`", ", ".join(metric.labels), _meaning(metric)) for metric in listed)
    return _table(("metric", "labels", "what it is"), rows)


def _meaning(metric: Metric) -> str:
    interval = f" 95 % interval ({metric.interval}): `_lower`, `_upper`." if metric.interval else ""
    return f"{metric.help}{interval}"


def settings_table() -> str:
    """Return a row for each setting, with its range, its variable and the comment in `stream/settings/model.py`."""
    comments = _comments()
    rows = (
        (f"`{place}`", f"`{_as_text(default)}`", _range_of(place), _variable_of(place), comments.get(place, ""))
        for place, default in settings.setting_values(settings.Settings())
    )
    return _table(("setting", "default", "from … to", "variable", ""), rows)


def inputs_table() -> str:
    """Return a row for each field of a table `[[inputs]]`: its default, the formats that it affects, its comment."""
    comments = {**_comments_in(Options), **_comments_in(settings.Input)}
    fields = zip(settings.Input.__struct_fields__, _defaults(settings.Input), strict=True)
    rows = ((f"`{name}`", default, _formats_using(name), comments[name]) for name, default in fields)
    return _table(("setting", "default", "formats", ""), rows)


def questions_table() -> str:
    """Return a row for each field of a table `[[inputs.questions]]`."""
    comments = _comments_in(Question)
    fields = zip(Question.__struct_fields__, _defaults(Question), strict=True)
    return _table(("setting", "default", ""), ((f"`{name}`", default, comments[name]) for name, default in fields))


def alerts_table() -> str:
    """Return a row for each alert: its runbook, how bad it is, what is wrong."""
    files = sorted((REPOSITORY / "deploy" / "prometheus" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    rows = ((_runbook(it["alert"]), it["labels"]["severity"], it["annotations"]["summary"]) for it in alerts)
    return _table(("alert", "severity", "what is wrong"), rows)


def _runbook(alert: str) -> str:
    return f"[{alert}](runbooks/{alert}.md)"


def rights_table() -> str:
    """Return a row for each kind of resource that commands need rights to, of a deployment with one input."""
    deployment = settings.Settings(app_id="<app_id>", inputs=(settings.Input(topic="<input>", format=formats.AUTO),))
    rows = []
    for role, commands in rights.ROLES.items():
        needed = {command: tuple(rights.rights_of(command, deployment)) for command in commands}
        for its in dict.fromkeys(needed.values()):
            alike = ", ".join(f"`{command}`" for command, others in needed.items() if others == its)
            rows += [(role, alike, *cells) for cells in _rights_by_operations(its)]
    return _table(("role", "commands", "operations", "on"), rows)


def _rights_by_operations(needed: Iterable[rights.Right]) -> list[tuple[str, str]]:
    """Return the operations, and what all of them are needed on."""
    operations: dict[tuple[str, str], list[str]] = {}
    for right in needed:
        operations.setdefault((right.kind, right.name), []).append(right.operation)
    names: dict[tuple[str, str], list[str]] = {}
    for (kind, name), its in operations.items():
        names.setdefault((", ".join(its), kind.replace("-", " ")), []).append(f"`{name}`")
    return [(its, f"{kind} {', '.join(found)}") for (its, kind), found in names.items()]


def series() -> str:
    """Return a row for each family: how many series it adds to a scrape, and what leaves them out."""
    return _table(series_table.TITLES, series_table.rows())


def _defaults(struct: type[msgspec.Struct]) -> list[str]:
    return [
        _NEEDED
        if field.required
        else f"`{msgspec.json.encode(field.default).decode()}`"
        if _tells(field.default)
        else ""
        for field in msgspec.structs.fields(struct)
    ]


def _tells(default: object) -> bool:
    return isinstance(default, str) and bool(default)


def _formats_using(name: str) -> str:
    if name not in Options.__struct_fields__:
        return ""
    using = [format_ for format_ in formats.FORMATS if name in formats.uses(format_)]
    others = [format_ for format_ in formats.FORMATS if format_ not in using]
    return "all" if not others else f"all but {', '.join(others)}" if len(others) < 4 else ", ".join(using)


def _comments_in(struct: type) -> dict[str, str]:
    return {match["field"]: match["comment"] for match in _COMMENT.finditer(inspect.getsource(struct))}


def _range_of(place: str) -> str:
    ends = WINDOW_RANGE if place.startswith("windows.") else RANGES.get(place, ())
    return " … ".join(map(str, ends))


def _variable_of(place: str) -> str:
    return "none" if place in settings.TABLES else f"`{settings.environment_variable(place)}`"


def _comments() -> dict[str, str]:
    defaults = settings.Settings()
    sections = {"": defaults, **{name: getattr(defaults, name) for name in defaults.__struct_fields__}}
    found = {f"windows.{told.name}": told.help for told in windows()}
    for name, section in sections.items():
        if hasattr(section, "__struct_fields__"):
            for field, comment in _comments_in(type(section)).items():
                found[f"{name}.{field}".lstrip(".")] = comment
    return found


def _as_text(default: object) -> str:
    return ",".join(default) if isinstance(default, tuple) else json.dumps(default)


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)


def rules_of_tools() -> str:
    """A part for each tool: its rules beside ours, what it says alike, what is taken for it, and its pages."""
    parts = []
    for tool in TOOLS.values():
        rows = (
            (rule.text, rule.with_us, tool.sources.get(rule.source, "not said").partition(", ")[0])
            for rule in tool.rules
        )
        told = [f"### {tool.title}: `--rules {tool.name}`", _table((tool.title, "with us", "said in"), rows)]
        for title, lines in (
            ("As with us", tool.alike),
            ("Not defined", [f"{number}: {why}" for number, why in tool.undefined.items()]),
            ("Taken, because it is not said", tool.assumed),
            ("Not to be seen in events", tool.unseen),
            ("Pages, as of November 2026", tool.sources.values()),
        ):
            if lines:
                told.append("\n".join([f"{title}:\n", *(f"- {line}" for line in lines)]))
        parts.append("\n\n".join(told))
    return "\n\n".join(parts)


TABLES: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    METRICS: {"metrics": metrics, "series": series},
    SETTINGS: {"inputs": inputs_table, "questions": questions_table, "settings": settings_table},
    RECONCILIATION: {"rules of tools": rules_of_tools},
    OPERATIONS: {"rights": rights_table},
    ALERTS: {"alerts": alerts_table},
}


def with_tables(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The text of a page with its tables as they should be. Raises ValueError for a table without its place."""
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"no place for a table: {start.strip()} ... {end.strip()}")
        text = f"{before}{start}{table()}\n{end}{after}"
    return text


if __name__ == "__main__":
    for page, made in TABLES.items():
        page.write_text(with_tables(page.read_text(), made))
