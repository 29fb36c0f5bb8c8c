"""Which columns the main tables of a report have."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.campaign.campaign import EQUAL, PUBLISHED
from harness.suite import Column, Display
from reports.arms import Entrant
from reports.sheets.columns import Shown
from reports.sheets.quality import sheets
from reports.statistics.comparison import compared

BOTH = Entrant("attention_sink", "attention_sink", "{}", {}, (PUBLISHED, EQUAL), np.nan)
RESIZED = Entrant("memrope.window=14", "memrope", "{}", {}, (EQUAL,), np.nan)
COLUMNS = (Column("steady", "unsaid_identity", "steady"), Column("evolve", "latest", "latest state"))


def scored(arm: Entrant, scenario: str, metric: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "strategy": arm.strategy, "knobs": arm.knobs, "suite": "drift", "scenario": scenario, "metric": metric,
            "unit": "share", "better": "higher", "prompt": str(seed), "seed": seed, "horizon_latent_frames": 240,
            "horizon_seconds": 60.0, "at_frame": 240, "observed_by": "seed", "value": seed / 8,
        }
        for seed in range(4)
    )  # fmt: skip


def test_a_scenario_that_a_suite_leaves_out_at_the_equal_budget_has_no_column_there() -> None:
    arms = [BOTH, RESIZED]
    table = pd.concat([scored(arm, "steady", "unsaid_identity") for arm in arms] + [scored(BOTH, "evolve", "latest")])
    found = compared(table, arms)
    there = frozenset(zip(table["suite"], table["scenario"], table["metric"], strict=True))
    shown = Shown({"drift": Display(columns=COLUMNS)}, frozenset(), there)
    lengths = {("drift", "steady"): [240], ("drift", "evolve"): [240]}
    heads = {sheet.table: sheet.heads[2:] for sheet in sheets(found, arms, lengths, shown)}
    names = [[head for head in heads[name] if head != "chunk (ms)"] for name in (PUBLISHED, EQUAL)]
    assert names == [[column.heading for column in COLUMNS], [COLUMNS[0].heading]]
