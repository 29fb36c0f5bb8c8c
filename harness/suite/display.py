"""How a suite is shown in a report: columns, tables, charts and notes, declared with the suite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Summary = Callable[["pd.DataFrame"], str]
"""From the samples of an arm in a suite to the text of its cell."""
Drawing = Callable[["pd.DataFrame", Path], None]
"""Draws the samples of a suite, all arms, into a file; a file that is not made is not shown."""


@dataclass(frozen=True)
class Column:
    """A column of a table: a score of a scenario, a mean with its interval for every arm.

    Parameters
    ----------
    scenario, score
        What is shown, at the longest videos of the scenario; shorter ones get tables of their own.
    heading
        Over the column.
    on_terminal
        False for a column that is in the pages only, where there is room.
    absent
        What stands for an arm that has no number.
    beside
        A score of the same scenario. Where that is there, the column is shown although no arm may have a number in it.
    """

    scenario: str
    score: str
    heading: str
    on_terminal: bool = True
    absent: str = "n/a"
    beside: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a suite's own: a row an arm, as published.

    Parameters
    ----------
    title
        Over the table.
    columns
        Columns; those without any number are left out, and so is a table without columns.
    longest_only
        Whether shorter videos are left out.
    summaries
        Further columns, before the others: a heading, and what makes a cell of an arm's samples.
    switches
        Whether columns say what prompt switches cost the memory: milliseconds, and latent frames replayed.
    """

    title: str
    columns: tuple[Column, ...]
    longest_only: bool = False
    summaries: tuple[tuple[str, Summary], ...] = ()
    switches: bool = False


@dataclass(frozen=True)
class Chart:
    """A plot of a suite.

    Parameters
    ----------
    name
        Name of its file, and in words its title.
    kind
        "curve": a metric over the length of the video, every arm a line. "survival": the share of the rollouts whose
        score (seconds) is not reached yet. "precision": a score over policies and the bits in which they keep frames, a
        heat map, where arms pack their frames. "switches": shares of scenes over time, the prompt switches marked.
        "waits": how often a chunk takes how long. "cost": time and bytes over the video. "profile": scores over a
        number that is known of each, such as cosines over lags, every arm a line. Or a function that draws.
    scenario, metric
        What a curve, a survival or a heat map is of; the scenario of switches and profiles.
    points
        Points of a profile: number and score of each, the numbers above zero and rising.
    across, up
        What the numbers of a profile are, and what its scores are.
    """

    name: str
    kind: Literal["curve", "survival", "precision", "switches", "waits", "cost", "profile"] | Drawing
    scenario: str = ""
    metric: str = ""
    points: tuple[tuple[float, str], ...] = ()
    across: str = ""
    up: str = ""


@dataclass(frozen=True)
class Display:
    """All that a report shows of a suite.

    Parameters
    ----------
    columns
        Columns of the main tables, in which all suites stand beside each other, for each set of arms.
    tables
        Tables of its own; those of a `CostSuite` are made for each machine.
    charts, filmstrips
        Plots, and scenarios of which pictures of all arms are put below each other (`Observer.pictures`).
    headline
        The column that plots of cost against quality, and the words about the baseline, are of.
    notes
        What a reader must know, below the main tables.
    order
        Suites of smaller numbers come first.
    """

    columns: tuple[Column, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    filmstrips: tuple[str, ...] = ()
    headline: Column | None = None
    notes: tuple[str, ...] = ()
    order: int = 100


def curve(scenario: str, metric: str) -> Chart:
    """Return the chart of a metric over the length of the videos of a scenario."""
    return Chart(f"{scenario}-{metric}", "curve", scenario, metric)


def plain_columns(there: Collection[tuple[str, str]], scores: Iterable[str]) -> tuple[Column, ...]:
    """Return a column for each of these scores in each scenario that has it, headed by its name."""
    scenarios = sorted({scenario for scenario, _ in there})
    found = [(scenario, score) for score in scores for scenario in scenarios if (scenario, score) in there]
    alone = len({scenario for scenario, _ in found}) == 1
    return tuple(
        Column(scenario, score, score.replace("_", " ") + ("" if alone else f", {scenario}"))
        for scenario, score in found
    )
