"""The numbers of survey answers, calculated from sums."""

from collections.abc import Iterator

from stream.core.families.surveys.contribution import (
    CES_ANSWERS,
    CES_EASY,
    CES_SCORE_UNITS,
    COMPLETED_OF_SHOWN,
    CSAT_ANSWERS,
    CSAT_SATISFIED,
    CSAT_SCORE_UNITS,
    CXI_ANSWERS,
    CXI_NEGATIVE,
    CXI_POSITIVE,
    NPS_DETRACTORS,
    NPS_PASSIVES,
    NPS_PROMOTERS,
    RESPONSES,
)
from stream.core.samples import Labels, Sample, mean, net, share
from stream.core.survey_scales import DIMENSIONS, UNITS, Kind, Status
from stream.core.tally import Tally


def of_window(labels: Labels, tally: Tally) -> Iterator[Sample]:
    """The numbers of one window."""

    def count(field: int) -> int:
        return tally.get(field, 0)

    for name, good_name, good, answered, units in (
        ("csat", "satisfied", CSAT_SATISFIED, CSAT_ANSWERS, CSAT_SCORE_UNITS),
        ("ces", "easy", CES_EASY, CES_ANSWERS, CES_SCORE_UNITS),
    ):
        answers = count(answered)
        yield Sample(f"engagement_{name}_{good_name}", labels, count(good))
        yield Sample(f"engagement_{name}_answers", labels, answers)
        yield from share(f"engagement_{name}_ratio", labels, count(good), answers)
        yield from mean(f"engagement_{name}_score_mean", labels, count(units) / UNITS, answers)
    yield from _nps(labels, tally)
    yield from _cxi(labels, tally)
    for kind in Kind:
        kind_labels = {**labels, "kind": kind.value}
        for status in (Status.COMPLETED, Status.PARTIAL, Status.DISMISSED, Status.SHOWN):
            responses = count(RESPONSES[kind, status])
            yield Sample("engagement_survey_responses", {**kind_labels, "status": status.value}, responses)
        completed, shown = count(COMPLETED_OF_SHOWN[kind]), count(RESPONSES[kind, Status.SHOWN])
        yield Sample("engagement_survey_shown_completed", kind_labels, completed)
        yield from share("engagement_survey_response_ratio", kind_labels, completed, shown)


def _nps(labels: Labels, tally: Tally) -> Iterator[Sample]:
    promoters, passives, detractors = (tally.get(field, 0) for field in (NPS_PROMOTERS, NPS_PASSIVES, NPS_DETRACTORS))
    for group, answers in (("promoter", promoters), ("passive", passives), ("detractor", detractors)):
        yield Sample("engagement_nps_answers", {**labels, "group": group}, answers)
    answered = promoters + passives + detractors
    yield from net("engagement_nps", labels, promoters, detractors, answered)


def _cxi(labels: Labels, tally: Tally) -> Iterator[Sample]:
    scores = []
    for name in DIMENSIONS:
        positive, negative, answers = (tally.get(of[name], 0) for of in (CXI_POSITIVE, CXI_NEGATIVE, CXI_ANSWERS))
        dimension_labels = {**labels, "dimension": name}
        groups = (("positive", positive), ("neutral", answers - positive - negative), ("negative", negative))
        for group, counted in groups:
            yield Sample("engagement_cxi_answers", {**dimension_labels, "group": group}, counted)
        nets = list(net("engagement_cxi_dimension", dimension_labels, positive, negative, answers))
        scores += [sample.value for sample in nets[:1]]
        yield from nets
    yield from mean("engagement_cxi", labels, sum(scores), len(scores))
