"""What both sides of a gate are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.campaign.campaign import Campaign, make_campaign
from harness.gate import rounds
from harness.gate.rounds import LATER, Rounds


def asked_of(campaign: Campaign, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """Return the campaign that a round of quality asks for."""
    found: list[Mapping[str, Any]] = []

    def caught(self: Rounds, asked: Mapping[str, Any]) -> float:
        found.append(asked)
        return 0.0

    monkeypatch.setattr(Rounds, "_quality", caught)
    folder.mkdir(exist_ok=True)
    Rounds(folder, {}, workers=1, threads=1).go(campaign)
    (asked,) = found
    return asked


def test_an_older_side_is_not_asked_for_options_that_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = asked_of(make_campaign({"suites": ["drift"]}), tmp_path / "run", monkeypatch)
    assert not set(LATER) & set(plain)
    # What is left out has the same value there as here.
    assert make_campaign(dict(plain)) == make_campaign({"suites": ["drift"]})
    asked = asked_of(make_campaign({"suites": ["drift"], "compile": "blocks"}), tmp_path / "run", monkeypatch)
    assert asked["compile"] == "blocks"


def test_options_of_later_versions_exist() -> None:
    assert set(LATER) <= set(Campaign.model_fields)
    assert rounds.LATER
