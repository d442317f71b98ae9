"""`engagement` with one family more: `python -m tests.toy_engagement` in its place."""

from stream.core.families.registry import FAMILIES
from tests.toy_family import ToysFamily

if __name__ == "__main__":
    FAMILIES.append(ToysFamily)
    from stream.cli import program  # after the list is whole: what is made from it is made once

    program()
