"""Scripts and styles without what means nothing: comments, and spaces and line breaks that nothing hangs on.

Nothing is renamed, moved or left out, so that an error which a browser reports is found by its text. A script is read
token by token: what looks like a comment or a space in a text, a template or a regular expression is none.
"""

import re

_SPACE = re.compile(r"(?:\s|//[^\n]*|/\*[\s\S]*?\*/)+")
_TEXT = re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[\w$#]+""")
_REGULAR_EXPRESSION = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/")
_TEMPLATE = re.compile(
    r"[`}](?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)"
)  # from its begin or a value to the next, or its end
_WORD = re.compile(r"[\w$#]")

# A slash after one of these begins a regular expression: no value that could be divided ends with them.
_NO_VALUE = frozenset("(,=:[!&|?{};>")
# A line break after one of the first, or before one of the second, ends no statement.
_GOES_ON_AFTER, _GOES_ON_BEFORE = frozenset("{([,;:?=&|<>*!"), frozenset("})],;:?=&|.<>*")

_STYLE_COMMENT = re.compile(r"/\*[\s\S]*?\*/")
_STYLE_SPACE = re.compile(r"\s*([{},;])\s*|(?<=:)\s+")


def lightened_style(text: str) -> str:
    """A style sheet, with a line for each rule."""
    style = _STYLE_SPACE.sub(r"\1", _STYLE_COMMENT.sub("", text)).replace(";}", "}").replace("}", "}\n")
    return re.sub(r"\n(?=\})", "", style)


def lightened_script(text: str) -> str:
    """A script. The texts of its templates stay as they are."""
    made = [""]
    templates: list[bool] = []  # of each open brace, whether it is in a template
    at = 0
    while at < len(text):
        is_template = text[at] == "`" or (text[at] == "}" and templates[-1])
        if text[at] == "}":
            templates.pop()
        token = _TEMPLATE.match(text, at) if is_template else _token(text, at, made[-1])
        told = text[at] if token is None else token.group()
        at += len(told)
        if token is not None and token.re is _SPACE:
            told = _between(made[-1][-1:], text[at : at + 1], "\n" if "\n" in told else " ")
        if told.endswith("{"):
            templates.append(is_template)
        if told:
            made.append(told)
    return "".join(made)


def _token(text: str, at: int, last: str) -> re.Match[str] | None:
    """The space, text or regular expression that begins here, after the token `last`; None for a sign."""
    found = _SPACE.match(text, at) or _TEXT.match(text, at)
    if found is None and (last in ("", "return") or last[-1] in _NO_VALUE):
        return _REGULAR_EXPRESSION.match(text, at)
    return found


def _between(last: str, following: str, space: str) -> str:
    """What must stay of a space between two characters."""
    if _WORD.match(last) and _WORD.match(following):
        return space
    if space == "\n" and last not in _GOES_ON_AFTER and following not in _GOES_ON_BEFORE:
        return space
    return " " if last == following and last in "+-/" else ""
