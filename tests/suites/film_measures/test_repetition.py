"""Loops, cuts and pulses, beside plain loops and scipy."""

import numpy as np
import pytest
from scipy.signal import correlate

from suites.film_measures.repetition import autocorrelation, loop
from suites.film_measures.steps import borders, cuts, discontinuity, pulse


def by_loops(signal, lag):
    wide = signal.reshape(len(signal), -1) - signal.reshape(len(signal), -1).mean(0)
    one, other = wide[: len(wide) - lag], wide[lag:]
    return 2 * (one * other).sum() / ((one**2).sum() + (other**2).sum())


@pytest.mark.parametrize("shape", [(37,), (64, 5), (200, 3)])
def test_autocorrelation_by_loops_and_by_scipy(shape):
    signal = np.random.default_rng(0).normal(size=shape).cumsum(0)
    found = autocorrelation(signal, len(signal) // 2)
    assert found == pytest.approx([by_loops(signal, lag) for lag in range(len(found))], abs=1e-9)
    centred = signal - signal.mean(0)
    flat = centred.reshape(len(signal), -1)
    whole = sum(correlate(column, column, "full") for column in flat.T)[len(signal) - 1 :]
    energy = (flat**2).sum(1)
    for lag in (0, 1, 7):
        both = energy[: len(flat) - lag].sum() + energy[lag:].sum()
        assert found[lag] == pytest.approx(2 * whole[lag] / both, abs=1e-9)


def test_loops_of_any_length_are_found_with_their_period():
    rng = np.random.default_rng(1)
    for seconds in (1, 7, 40):
        stretch = rng.normal(size=(8 * seconds, 6)).cumsum(0)
        found = loop(np.resize(stretch, (8 * 120, 6)) + rng.normal(size=(960, 6)) * 1e-3, 1 / 8)
        assert found.correlation > 0.999
        assert found.period == pytest.approx(seconds)


def test_a_walk_is_no_loop_and_what_stands_still_is_one():
    walk = np.random.default_rng(2).normal(size=(960, 6)).cumsum(0)
    assert loop(walk, 1 / 8).correlation < 0.8
    assert loop(np.ones((100, 4)), 1 / 8).correlation == 1
    # What leaves and does not come back has no peak.
    assert loop(np.linspace(0, 1, 100)[:, None], 1 / 8).correlation == 0
    assert np.isnan(loop(walk[:3], 1 / 8).correlation)


def test_a_return_to_the_beginning_at_fixed_times_is_seen_beside_a_walk():
    rng = np.random.default_rng(3)
    rise = np.linspace(0, 1, 80)[:, None]
    common, own = rng.normal(size=20), rng.normal(size=(6, 20))
    found = loop(np.concatenate([rise * (common + each) for each in own]), 1 / 8)
    assert 0.1 < found.correlation < 0.95
    assert found.period == pytest.approx(10, abs=0.2)


def test_cuts_by_their_definition():
    changes = np.random.default_rng(4).uniform(0, 0.04, 400)
    changes[[120, 300]] = 0.3, 0.5
    limit = max(0.10, np.mean(changes) + 5 * np.std(changes))
    assert cuts(changes).tolist() == [number + 1 for number, each in enumerate(changes) if each > limit] == [121, 301]
    # Small jumps of a quiet video are none.
    assert not len(cuts(np.append(np.zeros(100), 0.09)))
    assert not len(cuts(np.zeros(0)))


def test_a_pulse_is_a_beat_of_the_chunk_s_length_and_a_fade_is_none():
    times = np.arange(240)
    beat = 0.5 + 0.02 * (times % 12 == 0)
    assert pulse(beat, 12) > 0.9
    assert abs(pulse(0.5 + 0.02 * (times % 17 == 0), 12)) < 0.3
    assert pulse(np.full(240, 0.3), 12) == 0
    assert abs(pulse(np.linspace(0, 1, 240) + np.random.default_rng(0).normal(0, 0.01, 240), 12)) < 0.3
    assert np.isnan(pulse(beat[:30], 12))


def test_pulse_by_loops():
    values = np.random.default_rng(5).uniform(size=100)
    fast = np.array([values[n] - values[max(0, n - 3) : n + 4].mean() for n in range(100)])
    assert pulse(values, 6) == pytest.approx(by_loops(fast, 6), abs=1e-9)


def test_borders_of_chunks():
    # Wan's first chunk of three latent frames has nine pictures, the others twelve.
    assert borders(45, 9, 12) == [9, 21, 33]
    assert borders(45, 0, 0) == []
    assert discontinuity([2.0, 4.0], [1.0]) == 3
    assert discontinuity([2.0], []) is None
    assert discontinuity([2.0], [0.0]) is None
