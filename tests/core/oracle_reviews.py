"""The naive recount of reviews: stream/METRICS.md, from the raw events."""

from tests.core.oracle_events import EventFields, id_of, of_topic, who
from tests.core.oracle_numbers import AnyWindow, Samples, key, longest, share


def count_reviews(samples: Samples, events: list[EventFields], windows: list[AnyWindow]) -> None:
    """Each review where its newest event lies, unless that has removed it."""
    newest: dict[tuple[object, ...], tuple[int, bool, int]] = {}
    for event in of_topic(events, "reviews"):
        review = (who(event), id_of(event, "review_id"))
        is_removed = event.get("status") == "removed"
        told = (event["event_time"], is_removed, 0 if is_removed else int(event["stars"]))
        newest[review] = max(newest.get(review, told), told)
    published = [(at, stars) for at, is_removed, stars in newest.values() if not is_removed]
    if not any(at in longest(windows) for at, _ in published):
        return
    for window in windows:
        labels = {"window": window.name}
        given = [stars for at, stars in published if at in window]
        for stars in range(1, 6):
            samples[key("engagement_reviews", stars=str(stars), **labels)] = given.count(stars)
        good, bad = sum(stars >= 4 for stars in given), sum(stars <= 2 for stars in given)
        samples[key("engagement_positive_reviews", **labels)] = good
        samples[key("engagement_negative_reviews", **labels)] = bad
        share(samples, "engagement_review_positive_ratio", good, len(given), **labels)
        if given:
            samples[key("engagement_review_stars_mean", **labels)] = sum(given) / len(given)
        if bad:
            samples[key("engagement_review_positive_to_negative_ratio", **labels)] = good / bad
