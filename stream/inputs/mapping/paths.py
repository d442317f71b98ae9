"""Dotted paths into messages: `user.id`, `items[0].price`, `attributes."user.id"`.

A name may hold any character but `.`, `[`, `]` and `"`; in double quotes it may hold these too. A number in brackets is
a place in a list, from 0; a negative one counts from its end. A path that begins with `$.` starts at the message,
where others start at one of the events that it holds. `$` alone is the message.
"""

import re
from typing import Any, NamedTuple

_STEP = re.compile(
    r'(?P<name>[^.\[\]"]+)|"(?P<quoted>(?:[^"\\]|\\.)+)"|\[(?P<place>-?\d{1,9})\]',
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_BARE = re.compile(r'[^.\[\]"\s$](?:[^.\[\]"]*[^.\[\]"\s])?')


class Path(NamedTuple):
    """A path: the names and places to follow, from the message or from an event in it."""

    steps: tuple[str | int, ...]
    from_message: bool

    def __str__(self) -> str:
        """The path as it is written."""
        text = ""
        for step in self.steps:
            if isinstance(step, int):
                text += f"[{step}]"
            else:
                text += f"{'.' * bool(text)}{quoted(step)}"
        if not self.from_message:
            return text
        return f"${text}" if text.startswith("[") or not text else f"$.{text}"


def quoted(name: str) -> str:
    """A name as a path writes it."""
    if _BARE.fullmatch(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_path(text: str) -> Path:
    """Read a path. Raises ValueError for what is none."""
    from_message = text == "$" or text.startswith(("$.", "$["))
    at, steps = int(from_message), list[str | int]()
    while at < len(text):
        is_first = not steps and not from_message
        follows_dot = text[at] == "." and not is_first
        at += follows_dot
        found = _STEP.match(text, at)
        if found is None or (not is_first and follows_dot is (found["place"] is not None)):
            break
        at = found.end()
        if found["place"] is not None:
            steps.append(int(found["place"]))
        elif found["quoted"] is not None:
            steps.append(_ESCAPED.sub(r"\1", found["quoted"]))
        else:
            steps.append(found["name"])
    if at < len(text) or text.endswith(".") or not (steps or from_message):
        raise ValueError(f"{text!r} is no path such as 'user.id', 'items[0].price' or 'a.\"b.c\"'")
    return Path(tuple(steps), from_message)


def value_at(document: Any, steps: tuple[str | int, ...]) -> Any:
    """What lies at a path; None where there is nothing."""
    for step in steps:
        if type(document) is dict:
            document = document.get(step)
        elif type(document) is list and type(step) is int and -len(document) <= step < len(document):
            document = document[step]
        else:
            return None
    return document
