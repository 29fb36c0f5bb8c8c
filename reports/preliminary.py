"""The table of a campaign that is still running."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from reports.evaluation import evaluate
from reports.sheets.quality import sheets
from reports.sheets.sheet import Sheet


@np.errstate(over="ignore", invalid="ignore")  # Numbers near the largest float have no finite mean or spread.
def preliminary(folder: Path, baseline: str | None = None) -> Sheet | None:
    """Return the main table over the cells that are finished; None while no arm has a number in it.

    Only the columns for which a number is there are shown, and only the arms with a number. Intervals are wider than
    those of the finished campaign, and arms are compared over the rollouts that they have in common.

    Parameters
    ----------
    folder
        The campaign's folder.
    baseline
        The arm with which the others are compared; by default that of the campaign, or `sliding_window`.

    Raises
    ------
    StoreError
        For a folder without a campaign, or without a finished cell.
    """
    now = evaluate([folder], baseline)
    made = sheets(now.found, now.arms, now.lengths, now.show)
    if not made:
        return None
    return replace(made[0], notes=[])
