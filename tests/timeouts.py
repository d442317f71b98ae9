"""How long tests wait for what must come: long enough for a machine that is many times slower than usual.

A wait ends as soon as the thing has come, so a long timeout costs time only where a test fails. No test asserts how
fast a program is. What it does within a certain time is printed, as a figure.
"""

from typing import Final

TIMEOUT_SECONDS: Final = 300.0
