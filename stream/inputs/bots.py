"""Which user agents are those of crawlers."""

import re

from stream.core.users import LONGEST_ID

# Crawlers name themselves; the words are those most published lists of crawler user agents have in common. Cubot makes
# telephones.
_CRAWLER = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|headless|phantomjs|curl/|wget/|python-requests|httpclient", re.IGNORECASE
)
_is_crawler: dict[str, bool] = {}

_REMEMBERED = 10_000


def crawls(user_agent: str) -> bool:
    """Whether a user agent names a crawler."""
    known = _is_crawler.get(user_agent)
    if known is None:
        if len(_is_crawler) >= _REMEMBERED:
            _is_crawler.clear()
        known = _CRAWLER.search(user_agent) is not None
        if len(user_agent) <= LONGEST_ID:
            _is_crawler[user_agent] = known
    return known
