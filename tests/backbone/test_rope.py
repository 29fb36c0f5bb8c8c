from __future__ import annotations

import cmath

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.rope import REMEMBERED, Rope, axis_pairs, head_radians, rotate

FAR = 1e6
# One turn of the fastest pair at 1e6 is known to 1e6 * 2**-53 radians in float64.
EXACT = 1e-8

head_dims = st.sampled_from([2, 4, 6, 8, 12, 20, 128])
positions = st.floats(-FAR, FAR).map(lambda x: round(x, 3)) | st.integers(0, int(FAR)).map(float)
# Whole distances are exact however far out both ends are.
distances = st.integers(0, int(FAR)).map(float) | st.sampled_from([0.5, 0.25, 1234.125])


def exact(head_dim: int, grid: tuple[int, int] = (1, 1)) -> Rope:
    return Rope(head_radians(head_dim), grid, torch.float64)


def vectors(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def turned_by_hand(x: list[float], time: float, row: float, column: float) -> list[complex]:
    """One head's channels as complex numbers, each turned by its own angle: the paper's definition, in plain Python."""
    pairs = len(x) // 2
    spatial = pairs // 3
    out, channel = [], 0
    for index, count in ((time, pairs - 2 * spatial), (row, spatial), (column, spatial)):
        for j in range(count):
            angle = index * 10000.0 ** (-2 * j / (2 * count))
            out.append(complex(x[channel], x[channel + 1]) * cmath.exp(1j * angle))
            channel += 2
    return out


@pytest.mark.parametrize(
    ("head_dim", "expected"), [(128, (22, 21, 21)), (20, (4, 3, 3)), (12, (2, 2, 2)), (2, (1, 0, 0))]
)
def test_pairs_of_the_axes(head_dim: int, expected: tuple[int, int, int]) -> None:
    assert axis_pairs(head_dim) == expected
    assert tuple(len(axis) for axis in head_radians(head_dim)) == expected


@given(head_dim=head_dims, time=positions, row=st.integers(0, 60), column=st.integers(0, 60), seed=st.integers(0, 99))
def test_rotation_is_the_papers(head_dim: int, time: float, row: int, column: int, seed: int) -> None:
    x = vectors(seed, 1, 1, 1, head_dim)
    ours = rotate(x, exact(head_dim).tokens(torch.tensor([[[time, row, column]]], dtype=torch.float64)))
    theirs = turned_by_hand(x.flatten().tolist(), time, row, column)
    assert torch.view_as_complex(ours.view(-1, 2)).tolist() == pytest.approx(theirs, abs=EXACT)


@given(head_dim=head_dims, start=st.integers(0, int(FAR)), distance=distances, shift=distances, seed=st.integers(0, 99))
def test_attention_depends_on_distances_only(
    head_dim: int, start: int, distance: float, shift: float, seed: int
) -> None:
    """q.k at any two positions is what it is after both have moved, in time, down and across."""
    query, key = vectors(seed, 2, 1, 1, 1, head_dim).unbind(0)
    rope = exact(head_dim)

    def score(q_at: list[float], k_at: list[float]) -> float:
        turned = (
            rotate(x, rope.tokens(torch.tensor([[at]], dtype=torch.float64))) for x, at in ((query, q_at), (key, k_at))
        )
        return float(torch.stack(tuple(turned)).prod(0).sum())

    here = score([start + distance, 5, 2], [start, 1, 0])
    there = score([start + distance + shift, 5 + shift, 2 + shift], [start + shift, 1 + shift, shift])
    assert there == pytest.approx(here, abs=EXACT * head_dim)


def test_positions_matter() -> None:
    query, key = vectors(0, 2, 1, 1, 1, 20).unbind(0)
    rope = exact(20)
    seen = {
        round(float((rotate(query, rope.tokens(torch.tensor([[at]]))) * key).sum()), 9)
        for at in ([0.0, 0, 0], [1.0, 0, 0], [0.5, 0, 0], [0.0, 1, 0], [0.0, 0, 1], [1e6, 0, 0])
    }
    assert len(seen) == 6


@given(head_dim=head_dims, time=positions, seed=st.integers(0, 99))
def test_norms_are_kept(head_dim: int, time: float, seed: int) -> None:
    x = vectors(seed, 2, 6, 3, head_dim)
    turned = rotate(x, exact(head_dim, (2, 3)).frames([time]))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-12, atol=0)


@given(
    head_dim=head_dims,
    times=st.lists(positions, min_size=1, max_size=4),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_frames_are_their_tokens(
    head_dim: int, times: list[float], rows: int, columns: int, dtype: torch.dtype
) -> None:
    """Tokens of a frame come row by row."""
    rope = Rope(head_radians(head_dim), (rows, columns), dtype)
    places = [[time, row, column] for time in times for row in range(rows) for column in range(columns)]
    by_token = rope.tokens(torch.tensor([places], dtype=torch.float64))
    by_frame = rope.frames(times)
    assert by_frame.dtype == dtype
    assert by_frame.shape == (1, len(places), 1, head_dim // 2, 2)
    assert torch.equal(by_frame, by_token)


def test_every_row_may_have_its_own_positions() -> None:
    rope = exact(20, (2, 3))
    rows = [[0.0, 1.0, 7.0], [2.0**24 + 1, 0.5, 3.0]]
    together = rope.frames(torch.tensor(rows, dtype=torch.float64))
    assert together.shape == (2, 18, 1, 10, 2)
    x = vectors(1, 2, 18, 2, 20)
    for number, row in enumerate(rows):
        alone = rope.frames(row)
        assert torch.equal(together[number : number + 1], alone)
        assert torch.equal(rotate(x, together)[number], rotate(x[number : number + 1], alone)[0])


def test_a_position_beyond_float32_is_not_rounded() -> None:
    """2**24 + 1 is not a float32: angles are made in float64 and only their cosines are stored in float32."""
    far = 2**24
    rope = Rope(head_radians(12), (1, 1))
    reference = torch.tensor(far + 1, dtype=torch.float64)
    assert rope.frames([far + 1])[0, 0, 0, 0, 0].item() == pytest.approx(reference.cos().item(), abs=1e-6)
    assert not torch.equal(rope.frames([far + 1]), rope.frames([far]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kept", [torch.float32, torch.float64])
def test_compiled_arithmetic_is_the_eager_one(
    dtype: torch.dtype, kept: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    rope = Rope(head_radians(20), (2, 3), kept)
    x, rotation = vectors(2, 2, 12, 3, 20, dtype=dtype), rope.frames([3, 1000])
    eager = rotate(x, rotation)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    compiled = rotate(x, rotation)
    assert compiled.dtype == eager.dtype == dtype
    # One rounding of the result apart at most.
    torch.testing.assert_close(compiled, eager, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_turned_in_float32(dtype: torch.dtype) -> None:
    """The result is the exact one, rounded once: rotating in half precision itself would lose a digit more."""
    x = vectors(3, 1, 6, 2, 128, dtype=dtype)
    turned = rotate(x, Rope(head_radians(128), (2, 3)).frames([123]))
    reference = rotate(x.double(), exact(128, (2, 3)).frames([123]))
    assert turned.dtype == dtype
    torch.testing.assert_close(turned.double(), reference, rtol=0.51 * torch.finfo(dtype).eps, atol=1e-6)


def test_remembered_rotations_are_bounded() -> None:
    rope = exact(12, (2, 2))
    for start in range(100):
        rope.frames(range(start, start + 3))
    assert len(rope._recent) == REMEMBERED


def test_the_same_positions_are_computed_once() -> None:
    """What a memory with relative positions asks for, its context and its chunk, is not made anew at every chunk."""
    rope = exact(12, (2, 2))
    context, own = rope.frames(range(9)), rope.frames(range(9, 12))
    for _ in range(3):
        assert rope.frames(list(range(9))) is context
        assert rope.frames(range(9, 12)) is own
    assert torch.equal(context, exact(12, (2, 2)).frames(range(9)))
