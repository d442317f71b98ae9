"""The naive recount of features: stream/METRICS.md, from the raw events."""

from collections.abc import Mapping

from stream.core.rules import Rules
from tests.core.oracle_events import EventFields, id_of, is_interactive, of_topic, who
from tests.core.oracle_numbers import AnyWindow, Samples, key, longest, share


def count_features(
    samples: Samples,
    events: list[EventFields],
    windows: list[AnyWindow],
    active_users: Mapping[str, int],
    rules: Rules,
) -> None:
    """The users of each feature, and of the active users of a window the share that they are."""
    used = [
        (who(event), _name(event, rules), event["event_time"])
        for event in of_topic(events, "features")
        if is_interactive(event)
    ]
    if not any(at in longest(windows) for _, _, at in used):
        return
    for window in windows:
        scored = 0.0
        users = active_users.get(window.name)
        for name in (*rules.features, "other"):
            labels = {"window": window.name, "feature": name}
            count = len({person for person, feature, at in used if feature == name and at in window})
            samples[key("engagement_feature_users", **labels)] = count
            if users:
                share(samples, "engagement_feature_adoption_ratio", count, users, **labels)
                scored += rules.features.get(name, 0) * count / users
        weights = sum(rules.features.values())
        if users and weights:
            samples[key("engagement_product_adoption_score", window=window.name)] = 100 * scored / weights


def _name(event: EventFields, rules: Rules) -> str:
    name = id_of(event, "feature") or ""
    return name if name in rules.features else "other"
