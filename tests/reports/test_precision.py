"""The heat map of policies and precisions: its rows and columns, and when it is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.arms import Entrant
from reports.plots.precision import grid_of, heat_map

EQUAL, PUBLISHED = "equal budget", "as published"


def arm(strategy: str, tables: tuple[str, ...] = (EQUAL,), **values: Any) -> Entrant:
    knobs = json.dumps(values, sort_keys=True)
    return Entrant(f"{strategy} {knobs}", strategy, knobs, values, tables, np.nan)


ARMS = [
    arm("attention_sink", (EQUAL, PUBLISHED), window=12),
    arm("quantized", policy="attention_sink.window=31", store="int8"),
    arm("quantized", policy="[attention_sink.window=36,sink=3]", store="int4"),
    arm("quantized", policy="memrope", store="int8"),
    arm("full"),
    arm("videomla", policy="attention_sink"),
]


def scored(values: dict[int, float]) -> pd.DataFrame:
    """Two rollouts of each arm, a tenth around its value."""
    return pd.DataFrame(
        {
            "strategy": ARMS[number].strategy, "knobs": ARMS[number].knobs, "scenario": "steady",
            "metric": "unsaid_identity", "unit": "share", "horizon_latent_frames": 240, "value": value + off,
        }
        for number, value in values.items()
        for off in (-0.1, 0.1)
    )  # fmt: skip


def test_policies_are_rows_and_precisions_columns() -> None:
    table = scored({0: 0.8, 1: 0.6, 2: 0.3, 3: 0.5, 4: 0.9, 5: 0.7})
    there = [(each, table[(table["strategy"] == each.strategy) & (table["knobs"] == each.knobs)]) for each in ARMS]
    grid = grid_of(there)
    assert list(grid.index) == ["attention_sink", "memrope"]
    assert list(grid.columns) == ["exact", "int8", "int4"]
    assert grid.loc["attention_sink"].tolist() == pytest.approx([0.8, 0.6, 0.3])
    assert grid.loc["memrope"].tolist() == pytest.approx([np.nan, 0.5, np.nan], nan_ok=True)
    assert len(grid_of([there[0], there[4], there[5]])) == 0


def test_it_is_drawn_where_an_arm_packs_and_only_there(tmp_path: Path) -> None:
    path = tmp_path / "steady-precision.png"
    heat_map(scored({0: 0.8, 4: 0.9, 5: 0.7}), ARMS, "steady", "unsaid_identity", path)
    assert not path.exists()
    heat_map(scored({0: 0.8, 1: 0.6, 2: 0.3, 3: 0.5}), ARMS, "steady", "unsaid_identity", path)
    assert path.exists()
    assert path.with_suffix(".svg").exists()
