"""Modules of tests are compiled by one process before several share them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiling import are_compiled, modules_at

pytest_plugins = ["pytester"]


def test_several_processes_find_compiled_what_one_has_compiled_before_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    pytester.makeconftest(
        """
        from tests.compiling import are_compiled, compile_once, modules_at

        def pytest_sessionstart(session):
            if getattr(session.config.option, "tx", None):
                assert not are_compiled(modules_at(session.config.rootpath))
                compile_once(session.config)
                assert are_compiled(modules_at(session.config.rootpath))
        """
    )
    pytester.makepyfile(test_one="def test_of_one(): pass", test_two="def test_of_two(): pass")

    pytester.runpytest_subprocess("-n2").assert_outcomes(passed=2)

    assert are_compiled(modules_at(pytester.path))
    assert len(modules_at(pytester.path)) == 2
    assert modules_at(pytester.path / "test_one.py") == [pytester.path / "test_one.py"]
