"""Charts of the comparison's numbers on the page: the heat map of precisions, profiles, and what suites draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.suite import Chart, Display
from reports.arms import Entrant
from reports.page.charts import charts
from reports.plots.panels import cast
from reports.plots.profiles import draw, profiles_of
from reports.sheets.columns import Shown
from reports.statistics.baseline import choose
from reports.statistics.comparison import compared
from reports.statistics.curves import CurveSource
from suites.film_measures.declared import LAGS, PICTURES, lag_name

EQUAL, PUBLISHED = "equal budget", "as published"
HEAT = Chart("steady-precision", "precision", "steady", "unsaid_identity")
LAG = Chart(
    "steady-lags", "profile", "steady", points=tuple((lag, lag_name(lag, PICTURES)) for lag in LAGS),
    across="seconds between pictures", up="mean cosine",
)  # fmt: skip


def arm(label: str, strategy: str, tables: tuple[str, ...] = (EQUAL,), **values: Any) -> Entrant:
    return Entrant(label, strategy, json.dumps(values, sort_keys=True), values, tables, np.nan)


ARMS = [
    arm("sink", "attention_sink", (PUBLISHED, EQUAL), window=12),
    arm("sink in int8", "quantized", policy="attention_sink.window=31", store="int8"),
    arm("sink in int4", "quantized", policy="attention_sink.window=31", store="int4"),
    arm("memrope in int8", "quantized", policy="memrope", store="int8"),
    arm("full", "full"),
]


def scored(values: dict[int, float], metrics: tuple[str, ...] = ("unsaid_identity",)) -> pd.DataFrame:
    """Four rollouts of each arm around its value, at two lengths of which the longer one counts."""
    return pd.DataFrame(
        {
            "strategy": ARMS[number].strategy, "knobs": ARMS[number].knobs, "suite": "drift", "scenario": "steady",
            "metric": metric, "unit": "share", "better": "higher", "prompt": str(seed), "seed": seed,
            "horizon_latent_frames": frames, "horizon_seconds": frames / 4, "at_frame": frames, "observed_by": "",
            "value": value + (seed - 1.5) / 50 - (frames < 100) * 0.3 - place / 100,
        }
        for number, value in values.items()
        for seed in range(4)
        for frames in (84, 240)
        for place, metric in enumerate(metrics)
    )  # fmt: skip


def made(table: pd.DataFrame, *declared: Chart, drawings: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    shown = Shown({"drift": Display(charts=declared)}, frozenset(), frozenset())
    return charts(table, table, CurveSource(table), compared(table, ARMS).rows, ARMS, [], shown, drawings)


def test_policies_are_rows_and_precisions_columns_with_the_numbers_of_the_tables() -> None:
    table = scored({0: 0.8, 1: 0.6, 2: 0.3, 3: 0.5, 4: 0.9})
    (found,) = made(table, HEAT)
    (panel,) = found["panels"]
    assert (found["kind"], panel["title"], panel["n"]) == ("precision", EQUAL, "n=4")
    assert (panel["rows"], panel["columns"]) == (["attention_sink", "memrope"], ["exact", "int8", "int4"])
    cells = {(each["row"], each["column"]): each for each in panel["arms"]}
    assert cells["attention_sink", "exact"]["arm"] == "sink"
    assert cells["memrope", "int8"]["y"] == [0.5]
    assert cells["attention_sink", "int4"]["lo"][0] < 0.3 < cells["attention_sink", "int4"]["hi"][0]
    assert "full" not in {each["arm"] for each in panel["arms"]}


def test_there_is_no_heat_map_where_no_arm_packs() -> None:
    assert made(scored({0: 0.8, 4: 0.9}), HEAT) == []


def test_a_profile_is_a_line_over_its_numbers_with_gaps_left_out(tmp_path: Path) -> None:
    lags = tuple(lag_name(lag, PICTURES) for lag in (5, 0.5, 30))
    table = scored({0: 0.8, 4: 0.9}, lags)
    (found,) = made(table, LAG)
    assert (found["kind"], found["logx"], found["x"]) == ("profile", True, "seconds between pictures")
    assert [panel["title"] for panel in found["panels"]] == [PUBLISHED, EQUAL]
    sink, full = found["panels"][1]["arms"]
    assert (sink["arm"], full["arm"], sink["x"]) == ("sink", "full", [0.5, 5, 30])
    assert sink["y"] == pytest.approx([0.79, 0.8, 0.78])
    assert all(low < mean < high for low, mean, high in zip(sink["lo"], sink["y"], sink["hi"], strict=True))
    rows = compared(table, ARMS).rows
    draw(rows, cast(ARMS, choose(ARMS, None)), LAG, tmp_path / "lags.png")
    assert (tmp_path / "lags.png").exists()
    assert profiles_of(rows[:0], ARMS, LAG) == {}
    assert made(scored({0: 0.8}), LAG) == []


def test_what_a_suite_draws_stands_among_its_charts_where_there_is_a_file() -> None:
    own = Chart("loops-spread", lambda samples, path: None)
    table = scored({0: 0.8, 1: 0.6})
    found = made(table, own, HEAT, drawings=("loops-spread",))
    assert [each["kind"] for each in found] == ["drawing", "precision"]
    assert found[0]["title"] == "Loops spread"
    assert [each["id"] for each in found] == ["chart-0", "chart-1"]
    assert [each["kind"] for each in made(table, own, HEAT)] == ["precision"]
