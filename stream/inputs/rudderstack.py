"""The format `rudderstack`: Segment's calls, with the sessions that RudderStack's libraries keep.

| what | where |
| --- | --- |
| session | `context.sessionId`, a number that the device chose: unique on the device (`anonymousId`) only |
| version | `context.app.version`, but for web pages: there it is the version of RudderStack's library |
| all else | as in the format `segment`; `rudderId` is no id of a user |

Source: RudderStack's documentation, "Common Fields" and "Session Tracking in RudderStack SDKs", of November 2026.
"""

from collections.abc import Mapping

import msgspec

from stream.core.messages import Reader
from stream.inputs import segment
from stream.inputs.options import Options

USES = segment.USES


def reader_of(options: Options) -> Reader:
    """What reads RudderStack's calls."""
    return segment.reader_of(options, has_sessions=True)


def recognises(fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a message is a call that has what RudderStack adds."""
    return segment.is_call(fields) and segment.has_marks_of_rudderstack(fields)
