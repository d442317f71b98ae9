"""Recognises the user agents of crawlers."""

import re

from stream.core.users import MAX_ID_LENGTH

# Crawlers say in their user agent what they are. Most published lists of crawlers have these words. Cubot is not a
# crawler, but a maker of telephones.
_CRAWLER = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|phantomjs|curl/|wget/|python-requests|httpclient", re.IGNORECASE
)
_cache: dict[str, bool] = {}

_MAX_CACHED = 10_000


def is_crawler(user_agent: str) -> bool:
    """Whether a user agent names a crawler."""
    known = _cache.get(user_agent)
    if known is None:
        if len(_cache) >= _MAX_CACHED:
            _cache.clear()
        known = _CRAWLER.search(user_agent) is not None
        if len(user_agent) <= MAX_ID_LENGTH:
            _cache[user_agent] = known
    return known
