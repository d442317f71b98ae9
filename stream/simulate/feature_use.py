"""Simulate which features users use on their visits.

Each user has adopted some of the features for good: the popular ones more often than others, and who is more engaged
more of them. On a visit a user uses each adopted feature with the chance of that feature. Who uses the automations
leaves a job behind that runs hours later; of that the producer says that no person was there.
"""

from collections.abc import Iterator
from itertools import starmap
from typing import NamedTuple

import numpy as np

from stream.simulate.habits import of_habit
from stream.simulate.messages import SimulatedEvent, Visit, common_fields, time_text
from stream.simulate.population import hash_trait, hash_traits
from stream.simulate.steps import Visits

FEATURES_TOPIC = "features"


class Feature(NamedTuple):
    """A feature of the product: how many of the users adopt it, and how often these use it."""

    name: str
    adopted: float  # by this share of the users of an ordinary habit
    used: float  # on this share of the visits of who has adopted it
    weight: float | None  # of a vital feature; 0: it only has a name; None: the settings don't name it


FEATURES = (
    Feature("search", 0.8, 0.6, 1),
    Feature("dashboards", 0.65, 0.5, 3),
    Feature("reports", 0.45, 0.35, 2),
    Feature("sharing", 0.35, 0.25, 2),
    Feature("automations", 0.18, 0.4, 3),
    Feature("export", 0.3, 0.15, 0),
    Feature("api", 0.1, 0.5, 0),
    Feature("canvas", 0.06, 0.3, None),
)
# What a deployment of this population sets as `[features]`.
FEATURE_WEIGHTS = {feature.name: feature.weight for feature in FEATURES if feature.weight is not None}

_ADOPTED = np.array([[feature.adopted] for feature in FEATURES])
_USED = np.array([[feature.used] for feature in FEATURES])
_TRAITS = range(80, 80 + len(FEATURES))

BROKEN_FEATURE, BROKEN_SHARE = "dashboards", 0.15  # in the scenario 'adoption', so few of its users still use it
_BROKEN = next(place for place, feature in enumerate(FEATURES) if feature.name == BROKEN_FEATURE)

_AUTOMATIONS = "automations"
_FIRST_USE_MS, _NEXT_USE_MS = 5_000, 40_000  # after the visit begins; and after the feature before
_JOB_RUNS_AFTER_MS = 3 * 3_600_000
_NO_PLAN_ADOPTS = 0.9  # how many of the features who pays nothing adopts, compared with others


def events_of_features(rows: Visits, *, broken_since_ms: int | None) -> Iterator[SimulatedEvent]:
    """Yield the events of the features that are used on visits, visit by visit."""
    keen = of_habit("adopts", rows["habit"]) * np.where(rows["plan"] == 0, _NO_PLAN_ADOPTS, 1) * ~rows["anonymous"]
    has_adopted = hash_traits(rows["number"], _TRAITS) < np.minimum(_ADOPTED * keen, 0.98)
    if broken_since_ms is not None:
        stays = hash_trait(rows["number"], 79) < BROKEN_SHARE
        has_adopted[_BROKEN] &= (rows["start_ms"] < broken_since_ms) | stays
    uses = has_adopted & (hash_traits(rows["ref"], _TRAITS) < _USED)
    visits = starmap(Visit, rows.tolist())
    for visit, of_visit in zip(visits, uses.T, strict=True):
        for serial, place in enumerate(np.flatnonzero(of_visit).tolist()):
            name = FEATURES[place].name
            at_ms = visit.start_ms + _FIRST_USE_MS + serial * _NEXT_USE_MS
            yield _event(visit, at_ms, name, "", serial)
            if name == _AUTOMATIONS:
                yield _event(visit, at_ms + _JOB_RUNS_AFTER_MS, name, '"interactive":false,', len(FEATURES))


def _event(visit: Visit, at_ms: int, name: str, more: str, serial: int) -> SimulatedEvent:
    value = (
        f'{{"type":"used","feature":"{name}",{more}{common_fields(visit)}"event_time":{time_text(visit, at_ms)},'
        f'"event_id":"{visit.session_id}-feature-{serial}"}}'
    )
    return SimulatedEvent(at_ms, at_ms + visit.delay_ms, FEATURES_TOPIC, visit.key, value.encode(), "")
