"""The pages say what the code does, name nothing that is not there, and lead to one another."""

import re
from collections import Counter
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

from stream import settings
from stream.core.catalogue import BY_NAME, CATALOGUE
from stream.core.events import Login, Step
from stream.core.families.registry import families
from stream.core.offline import Offline
from stream.core.rules import Rules
from stream.core.segments import NAMED_VALUES
from stream.inputs import registry as formats
from stream.inputs.mapping.targets import names
from stream.settings import load
from tests.documents import (
    ARCHITECTURE,
    FORMATS,
    METRICS,
    PAGES,
    PICTURES,
    README,
    REPOSITORY,
    SETTINGS,
    TABLES,
    with_tables,
)
from tests.native import READERS, Message

# Read by the command line itself and by the tests' harness.
_OTHER_VARIABLES = re.compile(r"ENGAGEMENT_(SETTINGS|TEST_\w+)$")
# Of Markdown, and of the HTML of a picture. What stands in code leads nowhere.
_LINK = re.compile(r"""\]\((?!https?:)([^)\s]+)\)|(?:src|srcset|href)="(?!https?:)([^"]+)""")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
# As the walk from bytes to gauge names them.
_FUNCTION = re.compile(r"`([a-z_.]+):([A-Za-z_.]+)`")
_PATH = re.compile(r"`((?:stream|tests|deploy|\.ci|agents|core|inputs|export|simulate|state)/[\w./-]*)`")

# A newcomer reads all of README.md, and waits for its pictures.
_README_LINES = 200
_PICTURE_BYTES = 150_000

_FOLDERS = (REPOSITORY / name for name in ("deploy", "stream", "tests"))
_ALL = [README, *sorted(page for folder in _FOLDERS for page in folder.rglob("*.md"))]

pages = pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
all_pages = pytest.mark.parametrize("page", _ALL, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = README.read_text()

    assert len(text.splitlines()) <= _README_LINES
    assert {README.parent / link for link in _links(text)} >= {*PAGES, *PICTURES.values()}


def test_the_events_of_the_readme_count() -> None:
    lines = README.read_text().partition("<<'END'\n")[2].partition("\nEND")[0].splitlines()
    offline = Offline(Rules(), READERS)

    assert list(offline.apply(line.encode() for line in lines)) == []
    assert offline.computed().events["applied"] == len(lines) == 3


def test_the_pictures_of_the_page_are_small() -> None:
    for picture in PICTURES.values():
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < _PICTURE_BYTES


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_those_of_the_code(page: Path) -> None:
    text = page.read_text()

    assert text == with_tables(text, TABLES[page]), "write them anew with: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_leads_back_to_the_readme(page: Path) -> None:
    first = page.read_text().partition("\n## ")[0]

    assert [link for link in _links(first) if (page.parent / link).resolve() == README] != []


@all_pages
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def test_anchors_are_those_of_github() -> None:
    text = "# A `b`: c, d?\n```sh\n# no heading\n```\n## Two\n### Two\n## 95 % of all\n"

    assert _anchors(text) == {"a-b-c-d", "two", "two-1", "95--of-all"}


def _links(text: str) -> list[str]:
    """What a page leads to in this repository."""
    return ["".join(found) for found in _LINK.findall(_CODE.sub("", text))]


def _anchors(text: str) -> set[str]:
    """What links can lead to within a page: its headings, as GitHub names them."""
    counted: Counter[str] = Counter()
    anchors = set()
    for heading in _HEADING.findall(_FENCED.sub("", text)):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{counted[anchor]}" if counted[anchor] else anchor)
        counted[anchor] += 1
    return anchors


def test_the_page_has_every_metric_once_and_none_else() -> None:
    table = METRICS.read_text().partition("<!-- metrics -->")[2].partition("<!-- /metrics -->")[0]

    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [metric.name for metric in CATALOGUE]


def test_the_page_has_every_setting_once_and_none_else() -> None:
    table = SETTINGS.read_text().partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]

    assert re.findall(r"^\| `([\w.]+)`", table, re.MULTILINE) == settings.setting_names()


def test_the_page_has_every_format_once_and_none_else() -> None:
    table = FORMATS.read_text().partition("<!-- formats -->")[2].partition("<!-- /formats -->")[0]

    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(formats.FORMATS)


def test_a_format_has_a_module_that_tells_its_fields_and_their_source() -> None:
    for name in set(formats.FORMATS) - {"native", "auto", "mapped"}:
        told = import_module(f"stream.inputs.{name}").__doc__ or ""
        assert told.startswith(f"The format `{name}`: ")
        assert "| what | where |" in told
        assert "Source: " in told


@pages
def test_every_metric_a_page_names_is_in_the_catalogue(page: Path) -> None:
    named = set(re.findall(r"\bengagement_\w+", page.read_text()))

    assert {name for name in named if _without_suffix(name) not in BY_NAME} == set()


def _without_suffix(name: str) -> str:
    """The name of the metric that a line of a histogram belongs to."""
    metric, _, suffix = name.rpartition("_")
    return metric if suffix in ("bucket", "count", "sum") and BY_NAME.get(metric) else name


@all_pages
def test_every_variable_a_page_names_is_one_that_is_read(page: Path) -> None:
    known = {settings.environment_variable(place) for place in settings.setting_names()}
    named = set(re.findall(r"\bENGAGEMENT_\w+", page.read_text()))

    assert {name for name in named - known if not _OTHER_VARIABLES.match(name)} == set()


def test_every_function_the_architecture_walks_through_is_there() -> None:
    named = _FUNCTION.findall(ARCHITECTURE.read_text())

    assert len(named) > 20
    for module, name in named:
        assert attrgetter(name)(import_module(f"stream.{module}")) is not None, f"{module}:{name}"


@all_pages
def test_every_file_a_page_names_is_there(page: Path) -> None:
    named = _PATH.findall(page.read_text())

    assert [path for path in named if not (REPOSITORY / path).exists() and not (page.parent / path).exists()] == []


def test_the_page_says_how_many_series_each_value_of_a_segment_adds() -> None:
    """The page has a row for each family, and two more; of a value all numbers are defined."""
    rules = Rules()
    rows = METRICS.read_text().partition("<!-- series -->")[2].partition("<!-- /series -->")[0].splitlines()[3:]
    said = {cells[1]: cells[5:8] for cells in ([cell.strip() for cell in row.split("|")] for row in rows)}

    expected = {}
    for family in families(rules):
        names, fields = family.names_by_segment(rules), family.by_segment
        numbers = {number: 2 for counted in (fields.fields.values() if fields else ()) for number in counted}
        count = sum(
            sample.name in names
            for lengths in (family.segment_lengths, family.closed_segment_lengths())
            for sample in family.of_value(dict.fromkeys(lengths.values(), numbers), lengths)
        )
        full = 4 * (NAMED_VALUES + 2) * count
        listed = ", ".join(f"`{name}`" for name in fields.metrics) if fields else ""
        expected[family.name] = [f"{count}" if count else "none", f"{full:,}" if full else "none", listed]
    assert {name: said[name] for name in expected} == expected
    assert said.keys() - expected.keys() == {"of several families", "the pipeline"}


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for a table: <!-- metrics -->"):
        with_tables("# A page\n", TABLES[METRICS])


def test_the_mapping_of_the_page_reads_such_messages(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(FORMATS.read_text().partition("<!-- mapping -->\n```toml\n")[2].partition("```")[0])

    read = load(settings, {}).readers["app.events"]
    view = read(Message(b'{"user":{"id":"ann"},"ts":1719712800,"name":"view"}'))
    login = read(Message(b'{"user":{"id":"ann"},"ts":1719712800,"name":"signed_in"}'))
    assert [type(view), type(login)] == [Step, Login]


def test_the_page_names_every_event_that_can_be_mapped() -> None:
    told = FORMATS.read_text().partition("- **Events** are ")[2].partition("\n- **")[0]

    assert [name for name in names() if f"`{name}`" not in told] == []
