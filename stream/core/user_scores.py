"""What is told of one user at the end of a closed day: the health score with all that it is made of."""

from collections.abc import Iterable

import msgspec

from stream.core.users import ANONYMOUS_PREFIX


class ScorePart(msgspec.Struct, frozen=True):
    """One part of a score."""

    points: float | None  # 0 to 100; None: nothing is known of it
    weight: float  # among the weights of all parts


class UserScore(msgspec.Struct, frozen=True):
    """The score of one user at the end of a day."""

    score: float  # 0 to 100: the mean of the parts that are known, by their weights
    band: str  # at_risk, neutral or healthy
    coverage: float  # 0 to 1: the share of all weights that belongs to what is known
    parts: dict[str, ScorePart]


class ScoreMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The same as a message. Its key is the user's id."""

    day: str  # at whose end it holds, as 2026-11-21
    score: float
    band: str
    coverage: float
    parts: dict[str, ScorePart]
    user_id: str | None = None
    anonymous_id: str | None = None


# Scores as the families tell them: nothing for whom none was ever told, None for who has none any more.
Scores = Iterable[UserScore | None]


def message_of(user: str, day: str, score: UserScore) -> ScoreMessage:
    """The message of a user's score."""
    is_device = user.startswith(ANONYMOUS_PREFIX)
    return ScoreMessage(
        day,
        score.score,
        score.band,
        score.coverage,
        score.parts,
        user_id=None if is_device else user,
        anonymous_id=user.removeprefix(ANONYMOUS_PREFIX) if is_device else None,
    )
