"""Tables of papers as campaigns: what to run, and the paper's numbers to put beside it (`docs/campaigns/NAME.toml`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import CampaignError, did_you_mean
from harness.files import read_toml
from harness.store.records import first_error

HOME = Path(__file__).parents[2] / "docs" / "campaigns"
"""The folder of these files in a checkout; a wheel does not have them."""


class PaperRow(BaseModel):
    """Numbers of one arm. frames: length of the videos, None for the longest; theirs: by metric, as printed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    frames: int | None = None
    theirs: Annotated[dict[str, float], Field(min_length=1)]


class Paper(BaseModel):
    """A table of a paper.

    Parameters
    ----------
    title, source
        What it is, and where it was printed.
    prompts
        Which prompts it was made with, and how to get them; "" where that does not matter.
    viewers
        Commands that measure the films, with FOLDER for the campaign's folder.
    scenario
        Scenario of its numbers.
    shares_in_per_cent
        Whether it prints shares in per cent.
    differs
        What would differ here.
    rows
        Its numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    source: str
    prompts: str = ""
    viewers: tuple[str, ...] = ()
    scenario: str
    shares_in_per_cent: bool = False
    differs: tuple[str, ...] = ()
    rows: Annotated[tuple[PaperRow, ...], Field(min_length=1)]


def papers(home: Path = HOME) -> list[str]:
    """Return the names of all tables, sorted."""
    return sorted(path.stem for path in home.glob("*.toml"))


def read_paper(name: str, home: Path = HOME) -> tuple[dict[str, Any], Paper]:
    """Return a table: the values of its campaign, and what the paper says.

    Raises
    ------
    CampaignError
        For a name that no table has, a folder without tables, and a file that is no table.
    """
    known = papers(home)
    if not known:
        raise CampaignError(f"--paper {name}: tables of papers are in a checkout only ({home}); give a campaign file")
    if name not in known:
        raise CampaignError(f"--paper {name}: no such table{did_you_mean(name, known)}; there are {', '.join(known)}")
    values = read_toml(home / f"{name}.toml", CampaignError)
    try:
        return values, Paper(**values.pop("paper", {}))
    except (ValidationError, TypeError) as error:
        why = first_error(error, "paper") if isinstance(error, ValidationError) else str(error)
        raise CampaignError(f"{home / name}.toml: {why}") from None
