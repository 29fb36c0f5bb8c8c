"""Fixtures of the tests of reports."""

from __future__ import annotations

import pytest

from tests.short import keep_place


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plots be composed but not drawn."""
    monkeypatch.setattr("reports.plots.panels.save", keep_place)
