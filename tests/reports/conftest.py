"""Fixtures of the tests of reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plots be composed but not drawn: drawing is most of the time of a report, and has tests of its own."""

    def keep_place(figure: Any, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    monkeypatch.setattr("reports.plots.panels.save", keep_place)
