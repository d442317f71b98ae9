"""The exact text that Prometheus scrapes."""

import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.core import catalogue
from stream.export.prometheus import exposition
from tests.deploy.tools import tool
from tests.export.boards import board

_GOLDEN = Path(__file__).parent / "metrics.golden.txt"


def test_the_page_is_the_golden_one() -> None:
    """To renew it after a change that is meant, delete the file and run the test twice."""
    page = exposition(board(), version="1.2.3").decode()
    if not _GOLDEN.exists():
        _GOLDEN.write_text(page)
        pytest.fail(f"{_GOLDEN.name} was missing and is written anew: read it")

    assert page == _GOLDEN.read_text()


def test_promtool_finds_nothing_to_say_about_the_page() -> None:
    done = subprocess.run(
        [tool("promtool", of="Debian's package prometheus"), "check", "metrics"],
        input=exposition(board(), version="1"),
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_page_names_only_metrics_of_the_catalogue_with_their_help_and_labels() -> None:
    for family in text_string_to_metric_families(exposition(board(), version="1").decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        metric = catalogue.BY_NAME[name]
        ends = {f"{metric.name}_lower": "Lower end of", f"{metric.name}_upper": "Upper end of"}

        assert family.documentation.startswith(ends.get(name, metric.help))
        assert family.type == metric.type
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


def test_what_is_undefined_is_absent() -> None:
    page = exposition(board(), version="1").decode()

    assert "engagement_ces_answers" in page
    assert "engagement_ces_ratio{" not in page
    assert "engagement_cxi{" not in page
    assert "nan" not in page.lower().replace("finance", "")


def test_no_business_number_is_shown_before_every_partition_has_reported_once() -> None:
    page = exposition(board(partitions=(0,)), version="1").decode()

    assert "engagement_active_users{" not in page
    assert "engagement_partitions_owned 1.0" in page
    assert "engagement_partitions 2.0" in page


def test_a_user_id_is_in_no_label() -> None:
    page = exposition(board(), version="1").decode()

    assert not any(user in page for user in ('"ann"', '"bob"', '"crawler"'))
