"""Drift of a curve, beside plain loops over its values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.film_measures.ends import delta_drift, first_20_minus_all, kept, parts, vde
from tests.cases import settings

ENDS = np.array([21, 30, 45, 60, 75, 90, 105, 120.0])


def in_frames(curve, ends=ENDS):
    """A value for each latent frame."""
    return [value for value, width in zip(curve, np.diff([0, *ends]), strict=True) for _ in range(int(width))]


def plain_vde(means, weight):
    first = means[0]
    return sum(weight(len(means) - i + 1) * abs(means[i - 1] - first) / first for i in range(2, len(means) + 1))


curves = st.lists(st.floats(0.01, 100), min_size=8, max_size=8)


@settings()
@given(curves, st.sampled_from([0.15, 0.2]))
def test_delta_drift_is_the_difference_of_both_ends(curve, part):
    frames = in_frames(curve)
    count = int(part * 120)
    expected = abs(np.mean(frames[:count]) - np.mean(frames[-count:]))
    assert delta_drift(np.array([curve]), ENDS, 120, part * 120)[0] == pytest.approx(expected, abs=1e-9)
    both = np.mean(frames[:24]), np.mean(frames[-24:])
    assert kept(np.array([curve]), ENDS, 120, 24)[0] == pytest.approx(min(both) / max(both), abs=1e-9)


@settings()
@given(curves)
def test_vde_and_first_minus_all_by_loops(curve):
    frames = in_frames(curve)
    means = [float(np.mean(frames[12 * part : 12 * part + 12])) for part in range(10)]
    found = parts(np.array([curve]), ENDS, 120)
    assert found[0] == pytest.approx(means, abs=1e-9)
    assert vde(found)[0] == pytest.approx(plain_vde(means, lambda weight: weight), rel=1e-9)
    assert vde(found, "log")[0] == pytest.approx(plain_vde(means, math.log), rel=1e-9)
    assert vde(found, normalised=True)[0] == pytest.approx(plain_vde(means, lambda weight: weight) / 45, rel=1e-9)
    off = np.mean(frames[:24]) - np.mean(frames)
    assert first_20_minus_all(np.array([curve]), ENDS, 120)[0] == pytest.approx(off, abs=1e-9)


def test_lengths_and_gaps():
    curve = np.array([[1, 2, 3, 4, 5, 6, 7, 8.0]])
    # Ends of five seconds overlap in a video of nine.
    assert math.isnan(delta_drift(curve, ENDS, 36, 20)[0])
    # A gap in the middle concerns neither end, but a part of ten has nothing.
    curve[0, 2:5] = np.nan
    assert delta_drift(curve, ENDS, 120, 24)[0] == pytest.approx(8 * 15 / 24 + 7 * 9 / 24 - (21 + 6) / 24)
    assert math.isnan(vde(parts(curve, ENDS, 120))[0])
    assert math.isnan(vde(np.array([[0, 1.0, 1]]))[0])


def test_first_minus_all_saturates_where_delta_drift_goes_on():
    """Why it is printed beside its absolute value, and not recommended: what is lost late hardly counts."""
    falls = np.array([np.where(start < ENDS, 0.0, 1.0) for start in (30, 90)])
    early, late = first_20_minus_all(falls, ENDS, 120)
    assert early >= 3 * late
    assert delta_drift(falls, ENDS, 120, 18) == pytest.approx([1, 1])


def test_both_ways_of_drifting_keep_less():
    curve = np.array([np.linspace(1, 2, 8), np.linspace(2, 1, 8), np.full(8, 3.0), np.zeros(8)])
    up, down, still, nothing = kept(curve, ENDS, 120, 24)
    assert up < 0.7
    assert down < 0.7
    assert still == nothing == 1


def test_a_form_that_does_not_exist():
    with pytest.raises(ValueError, match="'linear' or 'log'"):
        vde(np.ones((1, 3)), "square")
