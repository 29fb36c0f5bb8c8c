"""The statistics of the trust table, on arms whose truth is made up."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.benchmarks.trust import correlations, measures_of, table
from tests.suites import fakes


def made(count=14, worlds=20):
    rng = np.random.default_rng(0)
    arms = {}
    for number in range(count):
        truth = (number + rng.normal(0, 0.3, worlds)) / count
        arms[f"arm {number}"] = {
            "drift": [
                {"true unsaid_identity": value, "true motion": 1 - value, "kept_contrast": value + rng.normal(0, 0.05),
                 "delta_drift_15_contrast": 1 - value + rng.normal(0, 0.05), "cuts": 0.0, "pulse": rng.normal()}
                for value in truth
            ],
            "interactive": [{"true recall": value, "resembles_pictures": value} for value in truth],
        }  # fmt: skip
    return arms


def test_correlations_are_spearman_s_turned_to_agreement():
    arms = made()
    rows = {(row["measure"], row["truth"]): row for row in correlations(arms)}
    for measure, sign in (("kept_contrast", 1), ("delta_drift_15_contrast", -1), ("pulse", -1)):
        means = [
            [np.mean([world[name] for world in arm["drift"]]) for arm in arms.values()]
            for name in (measure, "true unsaid_identity")
        ]
        row = rows[measure, "identity"]
        assert row["rho"] == pytest.approx(sign * spearmanr(*means).statistic)
        assert row["low"] <= row["rho"] <= row["high"] or measure == "pulse"
    assert rows["kept_contrast", "identity"]["rho"] > 0.9
    assert rows["delta_drift_15_contrast", "identity"]["rho"] > 0.9
    assert rows["kept_contrast", "motion"]["rho"] < -0.9
    assert rows["resembles_pictures", "recall"]["rho"] > 0.9
    assert (rows["kept_contrast", "identity"]["arms"], rows["kept_contrast", "identity"]["worlds"]) == (14, 20)
    # A measure that is the same for all arms says nothing.
    assert np.isnan(rows["cuts", "identity"]["rho"])
    assert "| `kept_contrast` | +1." in table(list(rows.values()))


def test_measures_of_pictures_are_those_of_a_film():
    found = measures_of(fakes.living(0), 8.0, 12)
    assert {"alive", "kept_contrast", "lag_2s_pictures", "vde_contrast", "pulse"} <= set(found)
    assert measures_of(fakes.frozen(0), 8.0, 12)["kept_contrast"] == 0
