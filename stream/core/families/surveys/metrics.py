"""The metrics of survey answers."""

from stream.core.metrics import WINDOW, Metric, by_segment, closed_twins

_LIVE = (
    Metric(
        "engagement_csat_ratio",
        "Share of CSAT answers in the boxes of satisfied people, as engagement_csat_satisfied counts them; one answer"
        " an interaction.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_csat_satisfied", "engagement_csat_answers"),
    ),
    Metric(
        "engagement_csat_satisfied",
        "CSAT answers in the boxes of satisfied people: the best of 2 or 3 boxes, the best two of 4 to 7, the best"
        " three of 8 to 11, the best three tenths of more.",
        WINDOW,
        unit="answers",
    ),
    Metric("engagement_csat_answers", "CSAT answers that count.", WINDOW, unit="answers"),
    Metric(
        "engagement_csat_score_mean",
        "Mean CSAT score, other scales rescaled to 1-5.",
        WINDOW,
        unit="score",
        parts=("engagement_csat_answers",),
    ),
    Metric(
        "engagement_nps",
        "Net Promoter Score: share of 9-10 minus share of 0-6, times 100; the latest answer of each user counts.",
        WINDOW,
        unit="score",
        interval="adjusted-Wald",
        parts=("engagement_nps_answers",),
    ),
    Metric(
        "engagement_nps_answers",
        "NPS answers that count, by group: promoter (9-10), passive (7-8), detractor (0-6).",
        ("window", "group"),
        unit="answers",
    ),
    Metric(
        "engagement_ces_ratio",
        "Share of CES answers that call it easy: 5-7 of 7, 4-5 of 5; one answer an interaction.",
        WINDOW,
        unit="ratio",
        interval="Wilson",
        parts=("engagement_ces_easy", "engagement_ces_answers"),
    ),
    Metric("engagement_ces_easy", "CES answers that call it easy.", WINDOW, unit="answers"),
    Metric("engagement_ces_answers", "CES answers that count.", WINDOW, unit="answers"),
    Metric(
        "engagement_ces_score_mean",
        "Mean CES score on 1-7 where 7 is easy, other scales rescaled.",
        WINDOW,
        unit="score",
        parts=("engagement_ces_answers",),
    ),
    Metric(
        "engagement_cxi",
        "Customer Experience Index: mean of its four dimensions.",
        WINDOW,
        unit="score",
        parts=("engagement_cxi_answers",),
        sample_labels=(("dimension", "effort"),),
    ),
    Metric(
        "engagement_cxi_dimension",
        "Share of answers 4-5 minus share of 1-2, times 100.",
        ("window", "dimension"),
        unit="score",
        interval="adjusted-Wald",
        parts=("engagement_cxi_answers",),
    ),
    Metric(
        "engagement_cxi_answers",
        "CXI answers, by dimension and group: positive (4-5), neutral (3), negative (1-2).",
        ("window", "dimension", "group"),
        unit="answers",
    ),
    Metric(
        "engagement_survey_responses",
        "Survey responses by kind and status; shown counts each response that was shown, whatever became of it.",
        ("window", "kind", "status"),
        unit="responses",
    ),
    Metric(
        "engagement_survey_response_ratio",
        "Of the responses shown in the window, the share that was completed. Absent where shown is not sent.",
        ("window", "kind"),
        unit="ratio",
        interval="Wilson",
        parts=("engagement_survey_shown_completed", "engagement_survey_responses"),
        sample_labels=(("status", "shown"),),
    ),
    Metric(
        "engagement_survey_shown_completed",
        "Of the responses shown in the window, those that were completed.",
        ("window", "kind"),
        unit="responses",
    ),
)

_MATURED = " of the 1, 7, 28, 30 or 90 days that ended a week before the end of the last closed day"
_RATIO, _COMPLETED = "engagement_survey_response_ratio", "engagement_survey_shown_completed"

_WHOLE = (
    *_LIVE,
    *closed_twins(_LIVE, without=(_RATIO, _COMPLETED)),
    Metric(
        "engagement_survey_response_closed_ratio",
        f"Of the responses shown on one{_MATURED}, the share that was completed by that end: each had a week for it."
        " Absent where shown is not sent.",
        ("window", "kind"),
        unit="ratio",
        interval="Wilson",
        parts=("engagement_survey_shown_completed_closed", "engagement_survey_shown_matured_closed"),
    ),
    Metric(
        "engagement_survey_shown_completed_closed",
        f"Of the responses shown on one{_MATURED}, those that were completed by that end.",
        ("window", "kind"),
        unit="responses",
    ),
    Metric(
        "engagement_survey_shown_matured_closed",
        f"Responses shown on one{_MATURED}.",
        ("window", "kind"),
        unit="responses",
    ),
)

# What is counted by segment too, by the names of the setting `segments.metrics`.
NAMES_BY_SEGMENT = ("csat_ratio", "nps")
_RULE = (
    "An answer counts under the value that its own message told, else as unknown: the values add up to all. Which"
    " values have a name the users decide."
)
METRICS = (*_WHOLE, *by_segment(_WHOLE, NAMES_BY_SEGMENT, rule=_RULE))
