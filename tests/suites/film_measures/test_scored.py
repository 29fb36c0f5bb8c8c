"""From samples of viewers to the scores of a report, in the suites that film."""

import numpy as np
import pandas as pd
import pytest

from suites.drift import Drift
from suites.film_measures.ends import delta_drift
from suites.interactive import Interactive
from suites.vbench_long import VbenchLong

ENDS = (21, 30, 45, 60, 75, 90, 105, 120)


def table(curves, suite="drift", scenario="steady", **about):
    """The tidy table of one film: {metric: {latent frame: value}}."""
    common = {"suite": suite, "scenario": scenario, "arm": "a", "strategy": "a", "knobs": "{}", "prompt": "p",
              "seed": 0,
              "repeat": 0, "horizon_latent_frames": 120, "horizon_seconds": 30.0, "cell": "c", **about}  # fmt: skip
    return pd.DataFrame(
        {**common, "metric": name, "unit": "", "better": "", "at_frame": at, "value": value}
        for name, curve in curves.items()
        for at, value in curve.items()
    )


def scores(suite, samples):
    found = suite().scores(samples)
    assert not found.duplicated(["metric", "prompt", "seed", "horizon_latent_frames"]).any()
    return found[found["horizon_latent_frames"] == 120].set_index("metric")["value"]


FILM = {
    "psnr": dict.fromkeys(ENDS, 20.0),
    "alive": dict.fromkeys(ENDS, 1.0) | {120: 0.0},
    "contrast": dict(zip(ENDS, np.linspace(0.2, 0.1, 8), strict=True)),
    # Clips of two seconds, as VBench cuts them.
    "imaging_quality_over_time": {at: 0.7 - at / 1000 for at in range(8, 121, 8)},
    "imaging_quality": {120: 0.6},
    "clip_score": dict(zip(ENDS, np.linspace(30, 27, 8), strict=True)),
    "anchoring_pictures": {120: 0.8},
    "cuts": {120: 2.0},
}


@pytest.mark.parametrize("suite", [Drift, Interactive, VbenchLong])
def test_all_suites_of_films_have_the_measures(suite):
    found = scores(suite, table(FILM, suite.name))
    alive = 1 - 15 / 120
    assert found["alive"] == pytest.approx(alive)
    assert found["cuts"] == 2
    curve = np.array([list(FILM["contrast"].values())])
    for name, part in (("15", 18), ("20", 24), ("5s", 20)):
        expected = delta_drift(curve, np.array(ENDS, float), 120, part)[0]
        assert found[f"delta_drift_{name}_contrast"] == pytest.approx(expected)
    # Clip by clip: the first 18 frames are two clips and a quarter of the third.
    first = (8 * 0.692 + 8 * 0.684 + 2 * 0.676) / 18
    last = (2 * 0.596 + 8 * 0.588 + 8 * 0.580) / 18
    assert found["delta_drift_15_imaging_quality"] == pytest.approx(first - last)
    assert found["resembles_pictures"] == pytest.approx(0.8 * alive)
    assert 0.5 * alive < found["kept_contrast"] < 0.75 * alive
    assert {"vde_clip_score", "vde_log_imaging_quality", "first_20_minus_all_contrast"} <= set(found.index)
    assert all(suite().metric_named(name) is not None for name in found.index)


def test_what_suites_scored_before_is_as_it_was():
    """Clips end between windows: their ends must not become ends of other curves."""
    plain = {name: FILM[name] for name in ("psnr", "clip_score", "imaging_quality")}
    for suite in (Drift, Interactive, VbenchLong):
        before, now = (scores(suite, table(film, suite.name)) for film in (plain, FILM))
        old = [name for name in before.index if name in now.index]
        assert list(before[old]) == list(now[old])
        assert {"psnr", "clip_score"} <= set(old)


def test_recall_counts_where_the_scene_was_left():
    rows = [
        table({"left": {39: left}, "recall": {78: recall}}, "interactive", "recall-39", seed=seed)
        for seed, (left, recall) in enumerate([(1.0, 0.4), (0.0, 1.0), (1.0, 0.6)])
    ]
    found = Interactive().scores(pd.concat(rows))
    assert list(found.loc[found["metric"] == "recall", "value"]) == [0.4, 1.0, 0.6]
    assert list(found.loc[found["metric"] == "recall_if_left", "value"]) == [0.4, 0.6]
    assert found.loc[found["metric"] == "recall_asked", "value"].mean() == pytest.approx(2 / 3)


def test_of_films_a_scene_was_left_where_its_pictures_are_nearer_to_their_own_prompt():
    for new, left in ((25.0, True), (19.0, False)):
        film = {
            "clip_score_scene": {39: 28.0, 78: new, 117: 28.0},
            "clip_old": {78: 20.0, 117: 20.0},
            "recall_dino": {117: 0.9},
        }
        found = Interactive().scores(table(film, "interactive", "recall")).set_index("metric")["value"]
        assert found["recall_asked"] == float(left)
        assert ("recall_dino_if_left" in found.index) == left
