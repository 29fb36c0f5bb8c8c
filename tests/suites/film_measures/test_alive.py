"""What lives, and what does not; and what that means for the recommended measures."""

from itertools import pairwise

import numpy as np
import pytest

from suites.film_measures.alive import alive
from suites.film_measures.conditioned import where_triggered
from suites.film_measures.declared import DERIVED, PLAIN, RECOMMENDED
from suites.film_measures.scored import film_scores
from tests.suites import fakes

FILMS = 1
WINDOWS = [(0, 40), (40, 60), (60, 90), (90, 120), (120, 150), (150, 180), (180, 210), (210, 240)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """All measures of the plain viewer, of films of each kind, by kind, film and metric."""
    from tests.suites.viewers.test_plain import look

    kinds = {
        "living": fakes.living,
        "fading": fakes.fading,
        "cut": fakes.cut,
        "returning": fakes.returning,
    } | fakes.DEAD
    folder = tmp_path_factory.mktemp("films")
    return {kind: [look(folder, make(seed), f"{kind}-{seed}") for seed in range(FILMS)] for kind, make in kinds.items()}


def scores(film):
    """The scores of one film, a list of curves."""
    curves = {name: tuple(np.array(side, float) for side in zip(*curve, strict=True)) for name, curve in film.items()}
    return film_scores(curves, 120, 4.0)


def recommended(found):
    fixed = [name for name in RECOMMENDED if not name.endswith("*")]
    families = tuple(name[:-1] for name in RECOMMENDED if name.endswith("*"))
    return {name: value for name, value in found.items() if name in fixed or name.startswith(families)}


def test_the_living_live_and_the_dead_do_not(seen):
    for kind in ("living", "cut", "returning"):
        for film in seen[kind]:
            assert [value for _, value in film["alive"]] == [1.0] * 8, kind
    # What has faded is blank or still in the end.
    assert all([value for _, value in film["alive"]][:6] == [1.0] * 6 for film in seen["fading"])
    for kind in fakes.DEAD:
        for film in seen[kind]:
            assert [value for _, value in film["alive"]] == [0.0] * 8, kind


def test_no_dead_video_wins_a_recommended_measure(seen):
    for living in seen["living"]:
        best = recommended(scores(living))
        assert set(best) == {"alive", "kept_luminance", "kept_contrast", "kept_saturation", "kept_detail",
                             "resembles_pictures"}  # fmt: skip
        assert all(value > 0.1 for value in best.values()), best
        for kind in fakes.DEAD:
            for film in seen[kind]:
                found = recommended(scores(film))
                assert all(found[name] < best[name] for name in best), kind


def test_the_measures_of_the_field_are_won_by_what_stands_still(seen):
    """Why they are not recommended."""
    still, living = scores(seen["frozen"][0]), scores(seen["living"][0])
    for name in ("delta_drift_15_contrast", "vde_contrast", "first_20_minus_all_abs_contrast", "returned_pictures"):
        assert still[name] <= 1e-6 < living[name]
    assert still["lag_2s_pictures"] > living["lag_2s_pictures"]


def test_what_fades_keeps_less_and_drifts_more(seen):
    for fading, living in zip(seen["fading"], seen["living"], strict=True):
        faded, lived = scores(fading), scores(living)
        for quality in ("contrast", "saturation", "detail"):
            assert faded[f"kept_{quality}"] < lived[f"kept_{quality}"]
            assert faded[f"vde_{quality}"] > lived[f"vde_{quality}"]
            assert faded[f"delta_drift_15_{quality}"] > lived[f"delta_drift_15_{quality}"]


def test_cuts_and_loops_and_returns_are_told_apart(seen):
    def of(kind, name):
        return [dict(film)[name][-1][1] for film in seen[kind]]

    assert of("cut", "cuts") == [1] * FILMS
    assert of("living", "cuts") == of("frozen", "cuts") == [0] * FILMS
    assert of("looped", "loop_period_pictures") == pytest.approx([1.5] * FILMS)
    assert of("looped slowly", "loop_period_pictures") == pytest.approx([8] * FILMS)
    assert max(of("living", "loop_pictures")) < min(of("looped slowly", "loop_pictures")) - 0.2
    assert of("frozen", "stuck_pictures") == [1] * FILMS
    assert max(of("living", "stuck_pictures")) < 0.5
    # A video that returns to its beginning every five seconds is alive, and these tell it.
    assert min(of("returning", "loop_pictures")) > max(of("living", "loop_pictures"))
    assert all(period % 5 == pytest.approx(0) for period in of("returning", "loop_period_pictures"))
    assert min(of("returning", "returned_pictures")) > max(of("living", "returned_pictures"))


def test_a_video_that_begins_to_loop_dies_there():
    from suites.viewers.plain.tracks import change, reduced

    video = fakes.living(0)
    video[120:] = np.resize(video[120:150], (120, *video.shape[1:]))
    from suites.film_measures.alive import Track

    track = Track(
        8, np.array([change(a, b) for a, b in pairwise(video)]), np.full(240, 0.2),
        np.stack([reduced(each)[0].ravel() for each in video]),
    )  # fmt: skip
    assert alive(track, WINDOWS) == [1, 1, 1, 1, 0, 0, 0, 0]


def test_a_condition_leaves_out_what_did_not_happen_and_says_how_much():
    found = where_triggered(np.array([0.9, 0.8, 0.1, 0.5]), np.array([0, 1, 1, np.nan]))
    assert np.isnan(found.values).tolist() == [True, False, False, True]
    assert found.share == pytest.approx(2 / 3)
    assert np.isnan(where_triggered(np.ones(2), np.full(2, np.nan)).share)


def test_every_score_is_declared_with_bounds_that_hold(seen):
    from harness.suite import Metric, find_metric

    declared = {name: Metric(*about) for name, about in (PLAIN | DERIVED).items()}
    for kind, films in seen.items():
        for name, value in scores(films[0]).items():
            metric = find_metric(declared, name)
            assert metric is not None, name
            if np.isnan(value):
                continue
            assert metric.low is None or value >= metric.low - 1e-9, (kind, name)
            assert metric.high is None or value <= metric.high + 1e-9, (kind, name)
    assert find_metric(declared, "vde_log_contrast").about != find_metric(declared, "vde_contrast").about
    assert find_metric(declared, "first_20_minus_all_contrast").better == "neither"
