"""Which number in a tally means what. Numbers are stored: a new field takes a new number, none is used again."""

from stream.core.survey_scales import DIMENSIONS, Kind, Status

# Users and logins
ACTIVE_USERS = 1
VISITORS = 2
LOGINS = 3
LOGIN_FAILURES = 4

# Sessions
SESSIONS = 10
SESSIONS_WITH_VIEWS = 11
PAGE_VIEWS = 12
SINGLE_PAGE_BOUNCES = 13
GA4_BOUNCES = 14
DURATION_MS = 15
SESSIONS_WITH_ENGAGED_TIME = 16
ENGAGED_MS = 17
# Duration of sessions: one field a bin of stream.core.histogram
FIRST_DURATION_BIN = 1_000
LAST_DURATION_BIN = 1_999

# Surveys
CSAT_ANSWERS = 30
CSAT_SATISFIED = 31
CSAT_SCORE_UNITS = 32
CES_ANSWERS = 33
CES_EASY = 34
CES_SCORE_UNITS = 35
NPS_PROMOTERS = 36
NPS_PASSIVES = 37
NPS_DETRACTORS = 38
CXI_POSITIVE = {name: 40 + 3 * place for place, name in enumerate(DIMENSIONS)}
CXI_NEGATIVE = {name: 41 + 3 * place for place, name in enumerate(DIMENSIONS)}
CXI_ANSWERS = {name: 42 + 3 * place for place, name in enumerate(DIMENSIONS)}

_SURVEY_STATUSES = (Status.SHOWN, Status.DISMISSED, Status.PARTIAL, Status.COMPLETED)
RESPONSES = {
    (kind, status): 60 + 10 * place + step
    for place, kind in enumerate((Kind.CSAT, Kind.NPS, Kind.CES, Kind.CXI))
    for step, status in enumerate(_SURVEY_STATUSES)
}
COMPLETED_OF_SHOWN = {kind: 69 + 10 * place for place, kind in enumerate((Kind.CSAT, Kind.NPS, Kind.CES, Kind.CXI))}
