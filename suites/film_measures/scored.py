"""Scores of measures, made of viewers' samples when a report is read: one number a film."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from suites.film_measures.declared import LEVELS, OVER_TIME, PLAIN, QUALITY, STRUCTURE
from suites.film_measures.ends import delta_drift, first_20_minus_all, kept, parts, vde
from suites.film_measures.windows import Values, mean_between

if TYPE_CHECKING:
    import pandas as pd

SECONDS = 5.0
"""Seconds of each end in `delta_drift_5s`."""
CURVES = (*LEVELS, "clip_score", "musiq", "hpsv3", "clip_t_10s", "clip_f_10s", "dino_10s")
"""Curves of a quality, besides VBench's dimensions, that drift measures are made of."""
POSITIVE = (*LEVELS, "clip_score", "musiq", "clip_t_10s")
"""Those among them that cannot be negative, of which a share can be kept."""
OWN = (*PLAIN, *STRUCTURE)


def is_measure(name: str) -> bool:
    """Return whether samples of this name are scored here, and not by the suite that has them."""
    return name in OWN or name.endswith(OVER_TIME) or name in QUALITY


def quality_of(name: str) -> str | None:
    """Return what a curve is the quality of, in the names of drift measures; None for a curve of something else."""
    quality = name.removesuffix(OVER_TIME)
    return quality if name in CURVES or name.endswith(OVER_TIME) else None


def drift_of(name: str, curve: Values, ends: Values, length: float, rate: float) -> Iterator[tuple[str, float]]:
    """Yield the drift measures of one curve.

    Parameters
    ----------
    name
        Name of the quality.
    curve
        Its values, [W], NaN where there is none.
    ends
        Latent frames at which its windows end, [W].
    length
        Latent frames of the video.
    rate
        Latent frames a second.
    """
    values = curve[None]
    for label, part in (("15", 0.15 * length), ("20", 0.2 * length), ("5s", SECONDS * rate)):
        yield f"delta_drift_{label}_{name}", float(delta_drift(values, ends, length, part)[0])
    if np.nanmin(curve) >= 0:
        means = parts(values, ends, length)
        yield f"vde_{name}", float(vde(means)[0])
        yield f"vde_log_{name}", float(vde(means, "log")[0])
        yield f"vde_normalised_{name}", float(vde(means, normalised=True)[0])
    fall = float(first_20_minus_all(values, ends, length)[0])
    yield f"first_20_minus_all_{name}", fall
    yield f"first_20_minus_all_abs_{name}", abs(fall)


def film_scores(
    curves: Mapping[str, tuple[Values, Values]], length: float, rate: float, positive: Collection[str] = POSITIVE
) -> dict[str, float]:
    """Return all scores of one film.

    Parameters
    ----------
    curves
        For each metric: latent frames at which its windows end, rising [W], and values [W], NaN where none.
    length
        Latent frames of the film.
    rate
        Latent frames a second.
    positive
        Qualities of which a share can be kept, besides VBench's dimensions.

    Returns
    -------
    dict
        Scores by name; those that cannot be computed are NaN or left out.
    """
    found: dict[str, float] = {}
    lives = curves.get("alive")
    alive = float("nan")
    if lives is not None:
        alive = float(mean_between(lives[1][None], lives[0], 0, length)[0])
    for name, (ends, curve) in curves.items():
        if is_measure(name):
            # Most measures are one number a film; a curve is shown by its mean over the film.
            found[name] = float(mean_between(curve[None], ends, 0, length)[0]) if len(ends) > 1 else float(curve[0])
        quality = quality_of(name)
        # A film of a single window would be compared with itself.
        if quality is None or np.isfinite(curve).sum() < 2:
            continue
        found |= dict(drift_of(quality, curve, ends, length, rate))
        if name in positive or name.endswith(OVER_TIME):
            found[f"kept_{quality}"] = alive * float(kept(curve[None], ends, length, 0.2 * length)[0])
    for name, (_, curve) in curves.items():
        if name.startswith("anchoring_") and not name.startswith("anchoring_control_"):
            found[f"resembles_{name.removeprefix('anchoring_')}"] = alive * max(0.0, float(curve[0]))
    return found


def measured(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of all films at their ends.

    Parameters
    ----------
    samples
        The tidy table of a suite, one row a sample.

    Returns
    -------
    DataFrame
        The same columns, one row a film and score.
    """
    import pandas as pd

    names = samples["metric"].astype(str)
    kinds = {name: is_measure(name) or quality_of(name) is not None for name in names.unique()}
    mine = samples[names.map(kinds)]
    keys = [name for name in samples.columns if name not in ("metric", "unit", "better", "at_frame", "value")]
    rows = []
    for key, film in mine.groupby(keys, observed=True, sort=False, dropna=False):
        about = dict(zip(keys, key, strict=True))
        length, seconds = float(about["horizon_latent_frames"]), float(about["horizon_seconds"])
        curves = {}
        for name, part in film.groupby("metric", observed=True, sort=False):
            rising = part.sort_values("at_frame")
            curves[str(name)] = (rising["at_frame"].to_numpy(float), rising["value"].to_numpy(float))
        found = film_scores(curves, length, length / seconds)
        rows += [
            {**about, "metric": name, "unit": "", "better": "", "at_frame": int(length), "value": value}
            for name, value in found.items()
            if np.isfinite(value)
        ]
    return pd.DataFrame(rows, columns=list(samples.columns))


def others(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples that the suite itself scores."""
    names = samples["metric"].astype(str)
    mine = {name: is_measure(name) for name in names.unique()}
    return samples[~names.map(mine)]
