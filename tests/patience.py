"""How long a test waits for what must come: until a machine that is ten times slower would have done it.

What comes ends the waiting, so a long patience costs time only where a test fails. No test says how fast a program is;
what it promises by the clock is printed, as a figure.
"""

from typing import Final

PATIENCE_SECONDS: Final = 300.0
