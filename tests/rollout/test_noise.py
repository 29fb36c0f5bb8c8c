from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import ShapeError
from harness.rollout.noise import PairedNoise

SHAPE = (3, 4, 2, 5)
ROWS = st.tuples(st.integers(0, 2**63), st.text(st.characters(codec="utf-8"), max_size=12))
# A chunk and what is drawn for it: None for the noise it starts from, or the step after which fresh noise is added.
DRAWS = st.tuples(st.integers(0, 2**40), st.none() | st.integers(0, 50))
Draw = tuple[int, int | None]


def drawn(noise: PairedNoise, draw: Draw, *shape: int) -> Tensor:
    chunk, step = draw
    size = torch.Size((len(noise.rows), *(shape or SHAPE)))
    return noise.initial(chunk, size) if step is None else noise.renoise(chunk, step, size)


@given(rows=st.lists(ROWS, min_size=1, max_size=4), draws=st.lists(DRAWS, min_size=1, max_size=6), data=st.data())
def test_a_row_is_the_same_in_any_batch_place_and_order(
    rows: list[tuple[int, str]], draws: list[Draw], data: st.DataObject
) -> None:
    alone = {(row, draw): drawn(PairedNoise([row]), draw)[0] for row in rows for draw in draws}
    batch = PairedNoise(data.draw(st.permutations(rows)))
    for draw in data.draw(st.permutations(draws)):
        together = drawn(batch, draw)
        assert together.shape == (len(rows), *SHAPE)
        assert together.dtype == torch.float32
        for row, x in zip(batch.rows, together, strict=True):
            assert torch.equal(x, alone[row, draw])


@given(key=st.tuples(ROWS, DRAWS), other=st.tuples(ROWS, DRAWS))
def test_another_seed_prompt_chunk_or_step_is_other_noise(
    key: tuple[tuple[int, str], Draw], other: tuple[tuple[int, str], Draw]
) -> None:
    here, there = (drawn(PairedNoise([row]), draw) for row, draw in (key, other))
    assert torch.equal(here, there) == (key == other)


NEIGHBOURS: list[tuple[int, str, Draw]] = [
    (0, "a fox", (0, None)),
    (1, "a fox", (0, None)),
    (0, "a fox.", (0, None)),
    (0, "", (0, None)),
    (0, "a fox", (1, None)),
    (0, "a fox", (2**32, None)),
    (0, "a fox", (0, 0)),
    (0, "a fox", (0, 1)),
    (0, "a fox", (1, 0)),
    # What joining a seed and a prompt without a mark in between would take for one another.
    (1, "0", (0, None)),
    (10, "", (0, None)),
    (1, "\x000", (0, None)),
]


def test_neighbours_are_uncorrelated() -> None:
    """Streams that differ in one thing only, at no lag and at small ones: no number of one tells of another's."""
    count = 40_000
    streams = torch.stack([drawn(PairedNoise([(seed, prompt)]), at, count)[0] for seed, prompt, at in NEIGHBOURS])
    streams = streams.double()
    limit = 5 / math.sqrt(count)
    for lag in (0, 1, 2, 64):
        correlations = streams[:, lag:] @ streams[:, : count - lag].T / count
        if lag == 0:
            correlations.fill_diagonal_(0)
        assert correlations.abs().max() < limit, lag


@pytest.mark.parametrize("draw", [(0, None), (7, 2), (100_000, None)])
def test_noise_is_standard_normal(draw: Draw) -> None:
    """Mean, variance, skewness, kurtosis and the distribution itself, each within five standard errors."""
    count = 100_000
    x = drawn(PairedNoise([(3, "a lake")]), draw, count).double().flatten()
    assert abs(x.mean()) < 5 / math.sqrt(count)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / count)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / count)
    ranks = torch.arange(1, count + 1, dtype=torch.float64) / count
    assert (torch.special.ndtr(x.sort().values) - ranks).abs().max() < 2.2 / math.sqrt(count)


def test_steps_of_a_chunk_do_not_overlap() -> None:
    """A draw of Wan size, 300 000 numbers a chunk, does not run into the next one's: no value pair is repeated."""
    noise = PairedNoise([(0, "a fox")])
    runs = [drawn(noise, draw, 3 * 16 * 60 * 104)[0] for draw in ((0, None), (0, 0), (0, 1), (1, None))]
    pairs = torch.cat([torch.stack((run[:-1], run[1:]), -1) for run in runs])
    assert len(pairs.view(torch.int64).unique()) == len(pairs)


def test_frames_and_channels_differ() -> None:
    x = drawn(PairedNoise([(0, "a fox"), (1, "a fox")]), (0, None))
    for first, second in itertools.combinations(x.flatten(0, 2), 2):
        assert not torch.equal(first, second)


@pytest.mark.parametrize("asked", [1, 3])
def test_other_rows_than_asked_for(asked: int) -> None:
    noise = PairedNoise([(0, "a"), (1, "b")])
    for draw in (lambda shape: noise.initial(0, shape), lambda shape: noise.renoise(0, 1, shape)):
        with pytest.raises(ShapeError, match=f"2 rows, not {asked}"):
            draw(torch.Size((asked, *SHAPE)))


def test_results_are_the_callers() -> None:
    """Writing to one draw changes no later one."""
    noise = PairedNoise([(0, "a fox")])
    before = drawn(noise, (0, None)).clone()
    drawn(noise, (0, None)).zero_()
    assert torch.equal(drawn(noise, (0, None)), before)


def test_global_generators_are_left_alone() -> None:
    first = drawn(PairedNoise([(0, "a fox")]), (0, None))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        before, numpys = torch.get_rng_state(), pickle.dumps(np.random.get_state())
        assert torch.equal(drawn(PairedNoise([(0, "a fox")]), (0, None)), first)
        assert torch.equal(torch.get_rng_state(), before)
        assert pickle.dumps(np.random.get_state()) == numpys


@pytest.mark.parametrize(
    ("seed", "prompt", "draw", "expected"),
    [
        (0, "a fox", (0, None), [-0.34891894, -0.09289759, 0.72296739, 2.64468241]),
        (0, "a fox", (0, 0), [-0.41737497, 0.80259895, 0.95395392, -0.39762273]),
        (1, "ein Füchslein 狐", (41, 2), [-1.50818956, -1.2475071, 0.51212597, -1.22887838]),
    ],
)
def test_first_values(seed: int, prompt: str, draw: Draw, expected: list[float]) -> None:
    """Pinned, because stored results are paired by them: another numpy must not draw other noise unnoticed."""
    assert drawn(PairedNoise([(seed, prompt)]), draw, 4)[0].tolist() == pytest.approx(expected, abs=1e-7)
