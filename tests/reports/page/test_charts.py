"""Data of charts: gaps, arms that coincide, scenes, fronts."""

import numpy as np
import pytest

from reports.page.charts import alike, scenes
from reports.page.cost_charts import front
from reports.page.values import script, short
from reports.statistics.bounded import wilson


def line(*values, x=None):
    return {"x": list(x or range(len(values))), "y": list(values)}


def test_curves_that_lie_on_each_other_are_one_group():
    curves = [line(1, 1, 0.9), line(1, 0.999, 0.901), line(1, 0.9, 0.2), line(1, 1, 0.9)]
    assert alike(curves, [0, 1]) == [[0, 1, 3], [2]]


def test_a_gap_in_one_of_two_curves_keeps_them_apart():
    assert alike([line(1, None, 1), line(1, 1, 1), line(1, None, 1)], [0, 1]) == [[0, 2], [1]]
    assert alike([line(1, 1), line(1, 1, x=(0, 2))], [0, 1]) == [[0], [1]]


def test_without_a_range_closeness_is_measured_by_the_curves():
    assert alike([line(100, 200), line(100, 200.4), line(100, 203)]) == [[0, 1], [2]]
    assert alike([]) == []


def test_no_other_arm_beats_one_on_the_front():
    points = [{"x": [cost], "y": [quality]} for cost, quality in ((2, 0.5), (1, 0.4), (3, 0.5), (4, 0.9), (1, 0.3))]
    assert front(points, cheap=True) == [1, 0, 3]
    assert front(points, cheap=False) == [3]
    assert front(points, cheap=True, better="lower") == [4]


class Cell:
    def __init__(self, scripts, boundaries, frames=84):
        rows = [{"seed": number, "script": each} for number, each in enumerate(scripts)]
        task = {"scenario": "s", "frames": frames, "rows": rows, "boundaries": boundaries}
        self.about = {"suite": "x", "status": "ok", "task": task, "seconds_per_latent_frame": 0.25}


def test_a_scene_is_called_by_the_prompt_that_all_rollouts_share_or_by_how_it_is_entered():
    one = [[0, "a thing"], [20, "a curtain"], [40, "a red disc"]]
    other = [[0, "a thing"], [20, "a curtain"], [40, "a blue disc"]]
    found = scenes([Cell([one, other], ["smooth", "smooth", "hardcut"])], "x", "s")
    assert found == [
        {"from": 0, "to": 5, "name": "a thing"},
        {"from": 5, "to": 10, "name": "a curtain"},
        {"from": 10, "to": 21, "name": "hardcut"},
    ]
    assert scenes([Cell([[[0, "a thing"]]], ["smooth"])], "x", "s") == []


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_data_cannot_end_its_script():
    text = script({"a": "</script><!--", "b": [1.5, None, "\u202e"]})
    assert not set("<>&") & set(text)
    assert "\u202e" not in text
    assert short(np.float64(0.123456789)) == 0.12346
    assert (short(np.nan), short(3.0)) == (None, 3)
