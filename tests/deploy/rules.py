"""The rule files as values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.promtool import RULE_FILES

# What Prometheus itself brings.
FOREIGN = frozenset({"up", "prometheus_rule_evaluation_failures_total"})

# The labels of a target that name its deployment. `namespace` and `cluster` are those of Kubernetes.
DEPLOYMENT = ("job", "namespace", "cluster")

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_LABELS = re.compile(r"\{[^{}]*\}")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NAME = re.compile(r"[a-zA-Z_][\w:]*")
_RANGE = re.compile(r"\[[^\[\]]*\]|\boffset\s+\w+")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset"})


@dataclass(frozen=True)
class Rule:
    """A recording rule or an alert."""

    name: str
    expr: str
    file: str
    group: str
    is_alert: bool
    lasts: str = ""  # `for`
    keeps: str = ""  # `keep_firing_for`
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def conditions(self) -> list[str]:
        """The conditions of an alert, as its file sets them apart: a line each that begins with `and`."""
        return re.split(r"\n(?=and\b)", self.expr.strip())

    def without(self, condition: int) -> str:
        """The expression with one of its conditions left out."""
        rest = [text for place, text in enumerate(self.conditions) if place != condition]
        return "\n".join([re.sub(r"^and( on \([\w, ]*\))?", "", rest[0]), *rest[1:]])


def rules(files: list[Path] = RULE_FILES) -> list[Rule]:
    """All rules, in order of evaluation within their groups."""
    return [
        _rule(told, file.name, group["name"]) for file in files for group in _groups(file) for told in group["rules"]
    ]


@cache
def _groups(file: Path) -> list[dict[str, Any]]:
    """The groups of rules in a file, which each test process reads once."""
    groups: list[dict[str, Any]] = yaml.safe_load(file.read_text())["groups"]
    return groups


def alerts() -> list[Rule]:
    """All alerts."""
    return [rule for rule in rules() if rule.is_alert]


def recordings() -> list[Rule]:
    """All recording rules."""
    return [rule for rule in rules() if not rule.is_alert]


def metrics_of(expr: str) -> set[str]:
    """The names of the metrics in an expression: what is no function, keyword, label, text or duration."""
    bare = _LABELS.sub("", _TEXT.sub('""', expr))
    bare = _RANGE.sub("", _GROUPING.sub("", bare))
    names = (match for match in _NAME.finditer(bare) if not _is_call(bare, match.end()))
    return {match.group() for match in names} - _WORDS


def _is_call(text: str, end: int) -> bool:
    """What is followed by a parenthesis, or by the grouping that was taken out before one, is a function."""
    return text[end:].lstrip().startswith("(")


def _rule(told: dict[str, Any], file: str, group: str) -> Rule:
    is_alert = "alert" in told
    return Rule(
        name=told["alert"] if is_alert else told["record"],
        expr=told["expr"],
        file=file,
        group=group,
        is_alert=is_alert,
        lasts=told.get("for", ""),
        keeps=told.get("keep_firing_for", ""),
        labels=told.get("labels", {}),
        annotations=told.get("annotations", {}),
    )
