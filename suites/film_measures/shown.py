"""How reports show the measures of films: the recommended ones, those of the field, lag curves."""

from __future__ import annotations

from collections.abc import Collection

from harness.suite import Chart, Column, Table, curve
from suites.film_measures.declared import CLIP, DINO, LAGS, PICTURES, lag_name

FEATURES = (PICTURES, DINO, CLIP)
RECOMMENDED, FIELD = "Summary measures", "Measures of the field (a video that stands still wins most of them)"
"""Titles of the two tables."""
SINGLE = {
    **{f"stuck_{features}": f"stuck, {features}" for features in FEATURES},
    **{f"loop_{features}": f"loop, {features}" for features in FEATURES},
    **{f"returned_{features}": f"came back, {features}" for features in FEATURES},
    **{lag_name(2, features): f"lag 2 s, {features}" for features in FEATURES},
    "clip_f": "CLIP-F",
    "cuts": "cuts",
    "pulse": "pulse",
    "chunk_flow": "chunk flow",
}
FAMILIES = {"delta_drift_15_": "drift 15 %", "vde_normalised_": "VDE"}
"""Headings by name, and by the beginning of a name."""


def measure_tables(there: Collection[tuple[str, str]]) -> tuple[Table, ...]:
    """Return the tables of measures of films.

    Parameters
    ----------
    there
        Scenario and score of all numbers that a report has of a suite.
    """
    known = _headings(there, {"alive": "alive"}, {"kept_": "keeps", "resembles_": "like its beginning"})
    field = _headings(there, SINGLE, FAMILIES)
    return tuple(Table(title, columns) for title, columns in ((RECOMMENDED, known), (FIELD, field)) if columns)


def _headings(
    there: Collection[tuple[str, str]], single: dict[str, str], families: dict[str, str]
) -> tuple[Column, ...]:
    names = sorted({score for _, score in there})
    scores = {name: heading for name, heading in single.items() if name in names} | {
        name: f"{heading}, {name.removeprefix(prefix).replace('_', ' ')}"
        for prefix, heading in families.items()
        for name in names
        if name.startswith(prefix)
    }
    found = [(scenario, name) for scenario in sorted({each for each, _ in there}) for name in scores]
    alone = len({scenario for scenario, name in found if (scenario, name) in there}) == 1
    return tuple(
        Column(scenario, name, scores[name] + ("" if alone else f" ({scenario})"))
        for scenario, name in found
        if (scenario, name) in there
    )


def measure_charts(scenario: str) -> tuple[Chart, ...]:
    """Return the charts of measures over time, and of lag curves; those without numbers are not drawn."""
    return (
        curve(scenario, "alive"),
        curve(scenario, "to_first_pictures"),
        curve(scenario, "imaging_quality_over_time"),
        curve(scenario, "aesthetic_quality_over_time"),
        *(
            Chart(
                f"{scenario}-lags-{features}", "profile", scenario, across="seconds between the pictures of a pair",
                points=tuple((lag, lag_name(lag, features)) for lag in LAGS), up=f"mean cosine, {features}",
            )
            for features in FEATURES
        ),
    )  # fmt: skip
