"""The row of surveys: what people think, how sure that is, and of how many answers."""

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import units

from deploy.grafana.frame import Row
from deploy.grafana.panels import trend
from deploy.grafana.queries import Query, interval, number
from stream.core.survey_scales import DIMENSIONS, Kind

SURVEYS_WINDOW = 'window="$survey_window"'


def surveys() -> Row:
    """Answers of the chosen window, each number with its interval and its sample."""

    def share(title: str, kind: str, legend: str, *alerts: str) -> timeseries.Panel:
        answers = Query(number(f"engagement_{kind}_answers", where=SURVEYS_WINDOW), "answers")
        asked = interval(f"engagement_{kind}_ratio", legend, where=SURVEYS_WINDOW)
        return trend(title, asked, unit=units.PercentUnit, bands=((legend, "blue"),), sample=answers, alerts=alerts)

    nps_answers = Query(f"sum({number('engagement_nps_answers', by='group', where=SURVEYS_WINDOW)})", "answers")
    dimensions = [
        Query(number("engagement_cxi_dimension", where=f'{SURVEYS_WINDOW}, dimension="{dimension}"'), dimension)
        for dimension in DIMENSIONS
    ]
    cxi_answers = number("engagement_cxi_answers", by="group", where=f'{SURVEYS_WINDOW}, dimension="{DIMENSIONS[0]}"')
    groups = [
        Query(number("engagement_nps_answers", where=f'{SURVEYS_WINDOW}, group="{group}"'), f"{group}s")
        for group in ("promoter", "passive", "detractor")
    ]
    completed = [Query(_completed(kind), kind.value.upper()) for kind in Kind]
    answered = [Query(_answered(kind), kind.value.upper()) for kind in Kind]
    return Row(
        "Surveys of the last $survey_window",
        [
            share("CSAT", "csat", "satisfied", "EngagementCsatDrop"),
            trend(
                "NPS",
                interval("engagement_nps", "NPS", where=SURVEYS_WINDOW),
                unit=units.NoUnit,
                bands=(("NPS", "blue"),),
                sample=nps_answers,
                steps=((None, "transparent"), (0, "red")),
                alerts=["EngagementNpsDrop"],
            ),
            share("CES", "ces", "call it easy"),
            trend(
                "CXI and its dimensions",
                [Query(number("engagement_cxi", where=SURVEYS_WINDOW), "CXI"), *dimensions],
                unit=units.NoUnit,
                width=6,
                sample=Query(f"sum({cxi_answers})", "answers"),
            ),
            trend("NPS answers", groups, unit=units.Short, width=6, stacked=True),
            trend("Completed responses", completed, unit=units.Short, width=6, stacked=True),
            trend("Response rate", answered, unit=units.PercentUnit, width=6),
        ],
    )


def _completed(kind: Kind) -> str:
    where = f'{SURVEYS_WINDOW}, status="completed", kind="{kind.value}"'
    return number("engagement_survey_responses", where=where)


def _answered(kind: Kind) -> str:
    return number("engagement_survey_response_ratio", where=f'{SURVEYS_WINDOW}, kind="{kind.value}"')
