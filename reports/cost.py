"""The part of a report about what it costs: rates, waits and bytes with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.tables import Entrant, Sheet, marked

RATES = (
    ("stream", "dit_fps", "DiT (FPS)"),
    ("stream", "stream_fps", "with decoder"),
    ("stream", "wall_fps", "with start-up"),
    ("switches", "first_ms", "first picture (ms)"),
    ("switches", "chunk_p50_ms", "chunk p50"),
    ("switches", "chunk_p90_ms", "p90"),
    ("switches", "chunk_p99_ms", "p99"),
    ("switches", "switch_ms", "after a switch"),
)
BYTES = (
    ("stream", "cache_bytes", "cached"),
    ("stream", "planned_cache_bytes", "planned"),
    ("stream", "planned_laid_out_bytes", "laid out, planned"),
    ("stream", "weights_bytes", "weights"),
    ("stream", "encoder_bytes", "text encoder"),
    ("stream", "decoder_bytes", "decoder"),
    ("stream", "peak_bytes", "peak"),
    ("stream", "planned_peak_bytes", "peak, planned"),
    ("stream", "growth_bytes", "cache grows a chunk by"),
    ("stream", "process_growth_bytes", "process grows a chunk by"),
)
SUITES = ("fps", "latency", "vram")


def cost_sheets(rows: pd.DataFrame, field: Sequence[Entrant]) -> list[Sheet]:
    """A table of rates and waits, and of one of bytes; those that were measured."""
    mine = rows[rows["suite"].isin(SUITES)]
    found = []
    for title, columns in (("what it costs: speed", RATES), ("what it costs: memory", BYTES)):
        there = set(zip(mine["scenario"], mine["metric"], strict=True))
        shown = [column for column in columns if column[:2] in there]
        # A suite that was asked for says what it could not tell.
        if shown and title.endswith("speed") and ("switches", "chunk_p50_ms") in there:
            shown = [column for column in columns if column in shown or column[1] == "chunk_p99_ms"]
        if shown:
            arms = [entrant.label for entrant in field if entrant.label in set(mine["arm"])]
            lines = [[arm, *(_entry(mine, arm, scenario, metric) for scenario, metric, _ in shown)] for arm in arms]
            found.append(Sheet(title, ["strategy", *(head for *_, head in shown)], lines))
    return found


def speeds(rows: pd.DataFrame) -> dict[str, float]:
    """Pixel frames a second of the DiT, by arm; empty where they were not measured."""
    part = rows[(rows["suite"] == "fps") & (rows["metric"] == "dit_fps")].drop_duplicates("arm")
    return dict(zip(part["arm"], part["mean"], strict=True))


def _entry(rows: pd.DataFrame, arm: str, scenario: str, metric: str) -> str:
    part = rows[(rows["arm"] == arm) & (rows["scenario"] == scenario) & (rows["metric"] == metric)]
    if part.empty:
        return "n too small" if metric == "chunk_p99_ms" else "n/a"
    row = part.loc[part["horizon_latent_frames"].idxmax()]
    half = (row["high"] - row["low"]) / 2
    if row["unit"].startswith("B"):
        return in_bytes(row["mean"], half)
    digits = 1 if row["mean"] < 1000 else 0
    spread = f" ± {half:.{digits}f}" if np.isfinite(half) else ""
    return f"{row['mean']:,.{digits}f}{spread}{marked(row)}"


def in_bytes(value: float, half: float = 0.0) -> str:
    """Bytes in the unit that suits them, with half of their interval where that shows."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            spread = f" ± {half / size:.2f}" if np.isfinite(half) and half / size >= 0.005 else ""
            return f"{value / size:.2f}{spread} {unit}"
    return f"{round(value)} B"
