"""Scores of scenes that come back, only where the scene in between was really there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from suites.film_measures.conditioned import where_triggered
from suites.film_measures.declared import Declared

if TYPE_CHECKING:
    import pandas as pd

LEFT = "left"
"""Samples of a known world: whether a switch before the one that is asked about was followed."""
ASKED = ("recall", "recall_dino")
"""Scores that ask a memory."""
TRIGGERED: dict[str, Declared] = {
    LEFT: ("share", "higher", "switches before a scene comes back that were followed at all", 0, 1),
    "recall_asked": ("share", "neither", "rollouts that had left the scene which comes back", 0, 1),
    "recall_if_left": ("share", "higher", "recall, of rollouts that had left the scene which comes back", 0, 1),
    "recall_dino_if_left": ("1", "higher", "recall_dino, of rollouts that had left the scene", -1, 1),
}


def conditioned_scores(samples: pd.DataFrame) -> pd.DataFrame:
    """Return recall of the rollouts that had left the scene, and which ones had.

    In a known world every switch before the one back must have been followed (`left`). Of films the pictures of every
    scene in between must be nearer to its own prompt than to the one before (`clip_score_scene` above `clip_old`).

    Parameters
    ----------
    samples
        The tidy table of a suite, one row a sample.

    Returns
    -------
    DataFrame
        The same columns, one row a rollout and score; none of rollouts of which that is not known.
    """
    import pandas as pd

    used = samples[samples["metric"].isin([LEFT, "clip_score_scene", "clip_old", *ASKED])]
    keys = [name for name in samples.columns if name not in ("metric", "unit", "better", "at_frame", "value")]
    rows = []
    for key, rollout in used.groupby(keys, observed=True, sort=False, dropna=False):
        about = dict(zip(keys, key, strict=True))
        by = {str(name): part.set_index("at_frame")["value"] for name, part in rollout.groupby("metric", observed=True)}
        asked = [name for name in ASKED if name in by]
        if not asked:
            continue
        happened = _left(by, min(float(by[name].index.min()) for name in asked))
        values = np.array([float(by[name].mean()) for name in asked])
        found = where_triggered(values, np.full(len(asked), happened)).values
        scored = dict(zip((f"{name}_if_left" for name in asked), found, strict=True)) | {"recall_asked": happened}
        rows += [
            {
                **about,
                "metric": name,
                "unit": "",
                "better": "",
                "at_frame": about["horizon_latent_frames"],
                "value": each,
            }
            for name, each in scored.items()
            if np.isfinite(each)
        ]
    return pd.DataFrame(rows, columns=list(samples.columns))


def _left(by: dict[str, pd.Series], back: float) -> float:
    """Return 1 where everything before the latent frame `back` was followed, 0 where not, NaN where it is not known."""
    if LEFT in by:
        known = by[LEFT].dropna()
        return float(known.min() > 0.5) if len(known) else float("nan")
    if "clip_old" not in by or "clip_score_scene" not in by:
        return float("nan")
    beyond = (by["clip_score_scene"] - by["clip_old"]).dropna()
    before = beyond[beyond.index < back]
    return float((before > 0).all()) if len(before) else float("nan")
