"""`engagement inputs`, and files of other formats, as somebody types it."""

import json
from pathlib import Path

import msgspec
import pytest

from stream.commands.inputs import EXPLANATIONS
from stream.core.rejections import LeftOut
from tests.inputs.samples import BY_FORMAT, QUALTRICS
from tests.test_cli import engagement

MAPPING = """
user_id = "user"
event_time = { path = "ts", unit = "s" }
session_id = "visit"
event = "name"

[events]
page_view = "page"
logins = "login"
"""
ROWS = [
    {"user": f"u{number % 5}", "ts": 1_719_712_800 + number, "visit": f"v{number % 5}", "name": name}
    for number, name in enumerate(["page", "login", "basket"] * 10)
]


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("user,ts,visit,name\n" + "".join(f"{','.join(map(str, row.values()))}\n" for row in ROWS))
    return path


def test_check_says_what_a_file_tells(table: Path, mapping: Path) -> None:
    result = engagement("inputs", "check", str(table), "--mapping", str(mapping))

    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    assert "30 messages, read as mapped 2024-06-30T02:00:00Z to 2024-06-30T02:00:28Z; days in UTC: 2024-06-30" in told
    assert "view 10 5 login 10 5 all 20 5" in told
    assert "unmapped: no event of the mapping 10 33.3% " in told
    assert "user user_id 20 of 20 u0" in told
    assert "Events that the mapping does not name: basket (10)" in told
    assert told.endswith("Nothing looks wrong")


def test_check_says_what_would_make_an_answer_count(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    path.write_bytes(msgspec.json.encode(QUALTRICS))
    told = " ".join(engagement("inputs", "check", str(path)).stdout.split())

    assert "recognised as qualtrics" in told
    assert "question: see [[inputs.questions]] 1" in told


@pytest.mark.parametrize(
    ("format_", "rows"),
    [
        (
            "segment",
            ["userId user_id 1 of 1 ada", "timestamp event_time 1 of 1", "context.traits.plan plan 1 of 1 pro"],
        ),
        ("ga4", ["event_params[engagement_time_msec].value.int_value engaged_ms 1 of 1 2150"]),
        (
            "typeform",
            ["form_response.hidden.user_id user_id 1 of 1 ada", "form_response.answers[].number score 1 of 1 9"],
        ),
    ],
)
def test_check_names_the_fields_of_a_format_and_what_became_of_them(
    format_: str, rows: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "told.jsonl"
    path.write_bytes(msgspec.json.encode(BY_FORMAT[format_]))
    told = " ".join(engagement("inputs", "check", str(path)).stdout.split())

    for row in rows:
        assert row in told
    assert "Fields whose values are in no event: " in told
    unused = told.partition("Fields whose values are in no event: ")[2]
    assert not any(row.split()[0] in unused.split(", ") for row in rows)


def test_each_word_for_what_is_left_out_is_explained() -> None:
    assert set(EXPLANATIONS) == set(LeftOut)


def test_check_ends_with_the_status_of_what_it_found(tmp_path: Path, mapping: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\nnonsense\n")

    assert engagement("inputs", "check", str(path), "--mapping", str(mapping)).exit_code == 3
    assert engagement("inputs", "check", str(path), "--mapping", str(mapping), "--limit", "1").exit_code == 0
    unknown = engagement("inputs", "check", str(path))
    assert unknown.exit_code == 1
    assert "2 messages, of no format that is known" in unknown.stdout
    assert "no format that is known has these fields: user, ts, visit, name" in " ".join(unknown.stdout.split())
    assert unknown.stdout.endswith(
        "- no format is known: `engagement inputs draft FILE` proposes a mapping, which --mapping then takes\n"
    )
    for arguments in ((), (str(path), "--topic", "t")):
        wrong = engagement("inputs", "check", *arguments)
        assert (wrong.exit_code, wrong.stderr) == (2, "engagement: needs either a FILE or --topic\n")


def test_check_reads_lines_that_name_their_topic_as_compute_does(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"topic":"logins","user_id":"ann","event_time":"2026-03-01T10:00:00Z"}\n')

    result = engagement("inputs", "check", str(path))
    assert result.exit_code == 0
    assert result.stdout.startswith("1 message, recognised as native of the topic logins\n")


def test_a_draft_can_be_checked_and_computed_at_once(table: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text(engagement("inputs", "draft", str(table)).stdout)

    assert engagement("inputs", "check", str(table), "--mapping", str(draft)).exit_code == 0
    result = engagement("compute", str(table), "--mapping", str(draft), "--as", "json")
    assert result.exit_code == 0
    assert msgspec.json.decode(result.stdout)["events"]["applied"] == 30


def test_a_draft_of_nothing_is_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "nothing.jsonl"
    path.write_text("1\nnonsense\n")

    result = engagement("inputs", "draft", str(path))
    assert (result.exit_code, result.stderr) == (1, "engagement: no message is a JSON object\n")


def test_compute_takes_a_mapping_of_a_file_or_of_the_settings(table: Path, mapping: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    its_mapping = MAPPING.replace("[events]", "[inputs.mapping.events]")
    settings.write_text(f'[[inputs]]\ntopic = "web"\nformat = "mapped"\n[inputs.mapping]\n{its_mapping}')

    by_file = engagement("compute", str(table), "--mapping", str(mapping), "--as", "json")
    assert by_file.exit_code == 0, by_file.output
    told = msgspec.json.decode(by_file.stdout)
    assert (told["events"]["applied"], told["left_out"]) == (20, {"unmapped": 10})
    for arguments in (("--mapping", str(settings)), ("--settings", str(settings), "--format", "mapped")):
        assert engagement("compute", str(table), *arguments, "--as", "json").stdout == by_file.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (MAPPING.replace("user_id", "userid"), "userid: native messages have no such field: is 'user_id' meant?"),
        ("user_id = ", "mapping.toml: "),
        ('[[inputs]]\ntopic = "a"\nkind = "logins"', "needs one table [[inputs]] of the format mapped, not 0"),
        ("inputs = 5", "Expected `array`, got `int`"),
    ],
)
def test_a_mapping_that_can_not_be_is_one_line(table: Path, mapping: Path, text: str, told: str) -> None:
    mapping.write_text(text)

    result = engagement("compute", str(table), "--mapping", str(mapping))
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("compute", "-", "--mapping", "none.toml"), "can't read the settings file 'none.toml'"),
        (("compute", "-", "--format", "mapped"), "mapping.events: needs at least one of"),
        (("compute", "-", "--format", "segment", "--mapping", "m"), "--mapping: is for the format mapped, not segment"),
        (("replay", "-", "--format", "segment"), "--topic: is needed, for no table [[inputs]] has the format segment"),
        (("replay", "-", "--topic", "t"), "--topic: needs --format or --mapping"),
        (("replay", "-", "--format", "segment", "--rebase"), "--rebase: moves the times of native messages only"),
        (("demo", "--format", "segment"), "--format and --mapping say what is in the files of --input"),
    ],
)
def test_options_that_do_not_fit_are_told(arguments: tuple[str, ...], told: str) -> None:
    result = engagement(*arguments, stdin="")
    assert result.exit_code == 2
    assert told in result.stderr
