"""Everything that the tables and plots of a report are made from, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.arms import Entrant, entrants
from reports.pool import Snapshot, opened, united
from reports.sheets.columns import Shown, shown_of
from reports.sheets.quality import Lengths
from reports.statistics.comparison import Comparison, compared, whole_lengths
from reports.statistics.curves import CurveSource
from reports.tables import scores, tidy


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one campaign, or of several that are shown together.

    Parameters
    ----------
    stores
        The campaigns as they were when they were read.
    manifest
        Their common manifest.
    table
        All samples.
    arms
        The arms of all campaigns.
    scored
        One score a rollout and metric.
    curves
        Curves over the videos.
    found
        Means, intervals and differences.
    lengths
        Lengths of the videos of each suite and scenario.
    show
        What the suites declare about tables, plots and notes.
    """

    stores: Sequence[Snapshot]
    manifest: dict[str, Any]
    table: pd.DataFrame
    arms: list[Entrant]
    scored: pd.DataFrame
    curves: CurveSource
    found: Comparison
    lengths: Lengths
    show: Shown


def evaluate(folders: Sequence[Path], baseline: str | None = None) -> Evaluation:
    """Read campaigns and compare their arms.

    Parameters
    ----------
    folders
        Folders of one campaign, or of several that differ in their seeds only.
    baseline
        The arm with which the others are compared; by default that of the campaign, or `sliding_window`.

    Raises
    ------
    StoreError
        For a folder without a campaign or without a finished cell, and for campaigns that cannot be pooled.
    UnknownNameError
        For a baseline that is not the name of any arm.
    """
    stores = opened(folders)
    manifest, table, arms = united(stores), tidy(*stores), entrants(*stores)
    scored = scores(table)
    found = compared(scored, arms, manifest["asked"]["baseline"] if baseline is None else baseline)
    curves, lengths, shown = CurveSource(table), whole_lengths(table), shown_of(found.rows)
    return Evaluation(stores, manifest, table, arms, scored, curves, found, lengths, shown)
