"""The manifests that repeat what is said elsewhere: the alert rules, and the topics that the program needs.

Prometheus reads `deploy/prometheus/rules`; its operator wants the same rules inside a PrometheusRule. The topics are
those of `engagement topics create` under the settings of `base/engagement.toml`; Strimzi wants each as a KafkaTopic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from stream.kafka.topic_specs import topic_specs
from stream.settings import Settings, load

FOLDER = Path(__file__).parent
RULES = FOLDER.parent / "prometheus" / "rules"
SETTINGS = FOLDER / "base" / "engagement.toml"

# The label by which Strimzi's operator knows whose topic it is; the first part of the name of the Service in `servers`.
_CLUSTER = "kafka"

_HEAD = "# Made from {source}: `make docs` writes it anew.\n"


_WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """Writes long text as a block, as one would by hand, and nothing as a reference to something above."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _WIDTH - 20 else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)


def settings() -> Settings:
    """The settings that all pods share."""
    return load(SETTINGS, {})


def prometheus_rules(folder: Path) -> list[dict[str, Any]]:
    """A PrometheusRule for each file of rules. Raises FileNotFoundError where there are none."""
    files = sorted(folder.glob("*.y*ml"))
    if not files:
        raise FileNotFoundError(f"no rules in {folder}")
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": f"engagement-{file.stem}", "labels": {"app.kubernetes.io/name": "engagement"}},
            "spec": yaml.safe_load(file.read_text()),
        }
        for file in files
    ]


def kafka_topics(chosen: Settings) -> list[dict[str, Any]]:
    """A KafkaTopic for each topic that the program needs."""
    replicas = {"replicas": chosen.topics.replication} if chosen.topics.replication > 0 else {}
    return [
        {
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": "KafkaTopic",
            "metadata": {"name": _resource_name(spec.name), "labels": {"strimzi.io/cluster": _CLUSTER}},
            "spec": {
                **({"topicName": spec.name} if _resource_name(spec.name) != spec.name else {}),
                "partitions": spec.partitions,
                **replicas,
                "config": dict(spec.config),
            },
        }
        for spec in topic_specs(chosen)
    ]


def _resource_name(topic: str) -> str:
    """A name that Kubernetes takes: lower case, digits, '-' and '.'."""
    return re.sub(r"[^a-z0-9.-]", "-", topic.lower()).strip("-.")


def _file(source: str, manifests: Iterable[dict[str, Any]]) -> str:
    texts = (
        yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True, default_flow_style=False)
        for one in manifests
    )
    return _HEAD.format(source=source) + "---\n".join(texts)


# The text of each file, by its path under this folder.
DOCUMENTS: dict[str, Callable[[], str]] = {
    "monitoring/prometheusrules.yaml": lambda: _file("deploy/prometheus/rules", prometheus_rules(RULES)),
    "strimzi/topics.yaml": lambda: _file("the program's topics and base/engagement.toml", kafka_topics(settings())),
}
