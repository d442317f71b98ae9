"""The numbers of survey answers, calculated from sums."""

from collections.abc import Iterator, Mapping
from typing import Any

from stream.core.families.surveys.contribution import (
    CES_ANSWERS,
    CES_EASY,
    CES_SCORE_UNITS,
    COMPLETED_OF_MATURED,
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
    SHOWN_MATURED,
)
from stream.core.samples import Labels, Sample, mean, net, share
from stream.core.survey_scales import DIMENSIONS, UNITS, Kind, Status


def of_window(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
    """The numbers of one window."""

    def count(field: int) -> int:
        return tally.get(field, 0)

    yield from of_value(labels, tally)
    yield from mean("engagement_csat_score_mean", labels, count(CSAT_SCORE_UNITS) / UNITS, count(CSAT_ANSWERS))
    easy, answers = count(CES_EASY), count(CES_ANSWERS)
    yield Sample("engagement_ces_easy", labels, easy)
    yield Sample("engagement_ces_answers", labels, answers)
    yield from share("engagement_ces_ratio", labels, easy, answers)
    yield from mean("engagement_ces_score_mean", labels, count(CES_SCORE_UNITS) / UNITS, answers)
    yield from _cxi(labels, tally)
    for kind in Kind:
        kind_labels = {**labels, "kind": kind.value}
        for status in (Status.COMPLETED, Status.PARTIAL, Status.DISMISSED, Status.SHOWN):
            responses = count(RESPONSES[kind, status])
            yield Sample("engagement_survey_responses", {**kind_labels, "status": status.value}, responses)
        completed, shown = count(COMPLETED_OF_SHOWN[kind]), count(RESPONSES[kind, Status.SHOWN])
        yield Sample("engagement_survey_shown_completed", kind_labels, completed)
        yield from share("engagement_survey_response_ratio", kind_labels, completed, shown)


def of_value(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
    """Those of them that are told by segment too."""
    satisfied, answers = tally.get(CSAT_SATISFIED, 0), tally.get(CSAT_ANSWERS, 0)
    yield Sample("engagement_csat_satisfied", labels, satisfied)
    yield Sample("engagement_csat_answers", labels, answers)
    yield from share("engagement_csat_ratio", labels, satisfied, answers)
    yield from _nps(labels, tally)


def matured(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
    """How many of those who were asked have answered, a week later."""
    for kind in Kind:
        kind_labels = {**labels, "kind": kind.value}
        completed, shown = tally.get(COMPLETED_OF_MATURED[kind], 0), tally.get(SHOWN_MATURED[kind], 0)
        yield Sample("engagement_survey_shown_completed_closed", kind_labels, completed)
        yield Sample("engagement_survey_shown_matured_closed", kind_labels, shown)
        yield from share("engagement_survey_response_closed_ratio", kind_labels, completed, shown)


def _nps(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
    promoters, passives, detractors = (tally.get(field, 0) for field in (NPS_PROMOTERS, NPS_PASSIVES, NPS_DETRACTORS))
    for group, answers in (("promoter", promoters), ("passive", passives), ("detractor", detractors)):
        yield Sample("engagement_nps_answers", {**labels, "group": group}, answers)
    answered = promoters + passives + detractors
    yield from net("engagement_nps", labels, promoters, detractors, answered)


def _cxi(labels: Labels, tally: Mapping[Any, int]) -> Iterator[Sample]:
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
