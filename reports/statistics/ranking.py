"""Pairwise wins: in how many columns of a table an arm is significantly better than another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.arms import Entrant, table_names
from reports.sheets.columns import Shown
from reports.sheets.quality import Lengths
from reports.sheets.sheet import Sheet
from reports.statistics.comparison import Comparison

MOST = 16
"""Largest number of arms in a readable matrix; pairs.csv has all pairs."""


def matrices(found: Comparison, field: Sequence[Entrant], lengths: Lengths, shown: Shown) -> list[Sheet]:
    """Return a matrix for each table of two arms or more: the number of columns in which the row's arm wins.

    A win is over the arm of the matrix's column. Columns count at the longest videos of their scenario.
    """
    columns = {(suite, column.scenario, column.score) for suite, column in shown.every()}
    longest = {key: each[0] for key, each in lengths.items()}
    made = []
    for table in table_names(field):
        pairs = found.pairs[(found.pairs["table"] == table) & (found.pairs["better"] != "neither")]
        kinds = zip(*(pairs[name] for name in ("suite", "scenario", "metric", "horizon_latent_frames")), strict=True)
        whole = [(*at, score) in columns and longest.get(tuple(at)) == frames for *at, score, frames in kinds]
        pairs = pairs[np.array(whole, bool)]
        named = set(pairs["arm"]) | set(pairs["other"])
        arms = [arm.label for arm in field if arm.label in named]
        if not 2 <= len(arms) <= MOST:
            continue
        wins = {(one, other): 0 for one in arms for other in arms}
        compared = dict.fromkeys(wins, 0)
        for row in pairs.itertuples():
            better = (row.difference > 0) == (row.better == "higher")
            winner, loser = (row.arm, row.other) if better else (row.other, row.arm)
            wins[winner, loser] += bool(row.real)
            for key in ((row.arm, row.other), (row.other, row.arm)):
                compared[key] += 1
        counted = pairs[["suite", "scenario", "metric"]].drop_duplicates()
        sheet = Sheet(f"pairwise wins, {table}", [], table=table)
        sheet.add("strategy", [f"{number} {arm}" for number, arm in enumerate(arms, 1)])
        for number, other in enumerate(arms, 1):
            cells = ["·" if arm == other else str(wins[arm, other]) if compared[arm, other] else "" for arm in arms]
            sheet.add(str(number), cells)
        sheet.notes.append(
            f"In how many of {len(counted)} columns the arm of a row is significantly better than the arm of a column; "
            "empty where the two share no rollout. All pairs: pairs.csv."
        )
        made.append(sheet)
    return made
