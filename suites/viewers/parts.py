"""Results of viewers that are one number a film, made of features of any kind."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.films.view_files import Part
from suites.film_measures.declared import LAGS, lag_name
from suites.film_measures.repetition import loop
from suites.film_measures.similarity import anchoring, lag_curve, returned, to_first
from suites.film_measures.windows import Values


def whole(
    metric: str, features: str, vectors: Values, at: int, step: float, raw: NDArray[np.floating] | None = None
) -> Part:
    """Return a measure of a whole film.

    Parameters
    ----------
    metric
        One of `suites.film_measures.declared.similarity_measures`.
    features
        Name of the features.
    vectors
        Unit vectors, [T, D].
    at
        Latent frame at which the film ends.
    step
        Seconds between them.
    raw
        What loops are looked for in, where that is not `vectors`.
    """
    name = metric.removesuffix(f"_{features}")
    signal: NDArray[np.floating] = vectors if raw is None else raw
    if name.startswith("lag_"):
        lag = next(each for each in LAGS if lag_name(each, features) == metric)
        value = float(lag_curve(vectors, step, [lag])[0])
    elif name in ("anchoring", "anchoring_control", "stuck"):
        value = anchoring(vectors, step)[("anchoring", "anchoring_control", "stuck").index(name)]
    elif name == "returned":
        value = returned(to_first(vectors))
    else:
        value = loop(signal, step)[("loop", "loop_period").index(name)]
    return Part(((at, rounded(value)),))


def rounded(value: float) -> float | None:
    """Return a number with six decimals; None where it is not finite."""
    return round(value, 6) if math.isfinite(value) else None
