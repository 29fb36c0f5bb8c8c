"""Checks of what is typed, made before anything is imported or written; each is a callback of its option."""

from __future__ import annotations

import math
from collections.abc import Sequence

import typer

from harness.errors import CampaignError
from harness.limits import LONGEST


def above_zero(value: float | None) -> float | None:
    """Return a number of seconds or minutes; raise BadParameter unless it is finite and above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g} is not a finite number above 0.")
    return value


def not_negative(value: float | None) -> float | None:
    """Return a number; raise BadParameter unless it is finite and at least 0."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value:g} is not a finite number of at least 0.")
    return value


def length(value: float | None) -> float | None:
    """Return the seconds of a video; raise BadParameter for a length that no video has."""
    if value is not None and not 0 < value <= LONGEST:
        raise typer.BadParameter(f"{value:g} is not a number of seconds above 0 and up to {LONGEST:,.0f} (31 days).")
    return value


def no_empty_words(words: Sequence[str]) -> None:
    """Raise CampaignError for an empty argument: an empty path would mean the folder in which the command runs."""
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        if option.startswith("--") and equals and not value:
            raise CampaignError(f"{option} is empty; give it a value, or leave it out")
        if not word:
            what = before if before.startswith("--") and "=" not in before else "an argument"
            raise CampaignError(f"{what} is empty; give it a value, or leave it out")
