"""Frames in fewer bits: rounding, bytes, and operations that keep entries packed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.layout import DenseLayout, gather
from harness.errors import KnobError, ResumeError
from harness.memory import Entries, Layout, MemorySpec
from harness.memory.packed import PackedEntries, Packing, Store, packed, restored
from harness.memory.seam import storage_bytes
from strategies.videomla.layout import LatentLayout
from tests.cases import cases
from tests.oracle import packed as oracle

STORES: tuple[Store, ...] = get_args(Store)
DENSE = DenseLayout(2, 4)
TOKENS = 3


def spec_of(
    store: Store | None, layout: Layout = DENSE, dtype: torch.dtype = torch.float64, batch: int = 2
) -> MemorySpec:
    return MemorySpec(2, layout, TOKENS, 3, batch, dtype, store=store)


def entries(spec: MemorySpec, frames: int, seed: int = 0, size: float = 1.0) -> Entries:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(spec.batch, frames, TOKENS, *shape) for shape in spec.layout.shapes]
    return Entries(*(size * torch.randn(shape, generator=generator).to(spec.dtype) for shape in shapes))


def groups(spec: MemorySpec, part: int, x: Tensor) -> Sequence[Tensor]:
    """The numbers of a tensor that share a scale, a group a row."""
    if spec.layout.axes[part] == "channel":
        return list(x.flatten(3).transpose(2, 3).flatten(0, 2))
    return list(x.flatten(0, -2))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("layout", [DENSE, LatentLayout(6, 4)], ids=["dense", "latent"])
@cases(5)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([1e-6, 1.0, 300.0]))
def test_numbers_are_rounded_as_plain_loops_round_them(layout: Layout, store: Store, seed: int, size: float) -> None:
    spec = spec_of(store, layout)
    exact = entries(spec, 2, seed, size)
    for part, (x, found) in enumerate(zip(exact.tensors, spec.packed(exact).tensors, strict=True)):
        for ours, theirs in zip(groups(spec, part, found), groups(spec, part, x), strict=True):
            expected = torch.tensor(oracle.rounded(theirs.tolist(), store), dtype=torch.float64)
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-9 * size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("store", ["int8", "int4"])
def test_a_number_is_off_by_half_a_step_at_most(store: Store, dtype: torch.dtype) -> None:
    spec = spec_of(store, dtype=dtype)
    exact = entries(spec, 3)
    made = spec.packed(exact)
    assert isinstance(made, PackedEntries)
    for part, (x, found) in enumerate(zip(exact.tensors, made.tensors, strict=True)):
        step = made.stored[3 * part + 1].double()
        # Beside half a step there is the rounding of the number's own type.
        allowed = step / 2 * (1 + 1e-6) + x.double().abs().clamp(min=1e-3) * torch.finfo(dtype).eps
        assert ((x.double() - found.double()).abs() <= allowed).all()
        assert found.dtype == dtype
        # Steps are no coarser than the group's range asks for, by the coarseness of their own type.
        for sizes, numbers in zip(groups(spec, part, step.expand(x.shape)), groups(spec, part, x), strict=True):
            levels = {"int8": 255, "int4": 15}[store]
            assert (
                sizes.max()
                <= 1.02 * float(numbers.max() - numbers.min()) / levels + 2e-2 * float(numbers.abs().max()) / levels
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_8_bit_float_is_off_by_a_sixteenth_at_most(dtype: torch.dtype) -> None:
    spec = spec_of("fp8", dtype=dtype)
    exact = entries(spec, 3)
    for x, found, step in zip(exact.tensors, spec.packed(exact).tensors, spec.packed(exact).stored[1::2], strict=True):
        off = (x.double() - found.double()).abs()
        assert (off <= x.double().abs() * (1 / 16 + torch.finfo(dtype).eps) + step.double() * 2**-10).all()


def test_two_numbers_of_four_bits_share_a_byte() -> None:
    spec = MemorySpec(1, DenseLayout(1, 4), 1, 1, store="int4")
    # A step of 1 from -7 to 8 is one that scales can have only from above: codes are what matters here.
    values = torch.tensor([-7.0, -6.9, 7.9, 8.0]).view(1, 1, 1, 1, 4)
    codes, step, least = spec.packed(Entries(values, values)).stored[3:]
    assert codes.dtype == torch.uint8
    assert codes.shape == (1, 1, 1, 1, 2)
    # The first half of the channels is in the low bits.
    assert codes.flatten().tolist() == [0 | 15 << 4, 0 | 15 << 4]
    assert (float(least), float(step)) == (-7.0, 1.0078125)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("value", [0.0, 0.3, -5.0, 1e-30, 1e30])
def test_groups_of_one_number_keep_it(store: Store, value: float) -> None:
    spec = spec_of(store, dtype=torch.bfloat16)
    exact = entries(spec, 1).map(lambda x: torch.full_like(x, value))
    found = spec.packed(exact)
    for x, y in zip(exact.tensors, found.tensors, strict=True):
        torch.testing.assert_close(y, x, rtol=2**-4 if store == "fp8" else 0, atol=0)


@pytest.mark.parametrize("store", STORES)
def test_the_largest_numbers_of_both_signs_stay_finite(store: Store) -> None:
    spec = spec_of(store, dtype=torch.float32)
    exact = entries(spec, 1).map(lambda x: 3e38 * torch.sign(x))
    for x, found in zip(exact.tensors, spec.packed(exact).tensors, strict=True):
        assert found.isfinite().all()
        torch.testing.assert_close(found, x, rtol=0.04, atol=0)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_spoils_its_group_and_no_other(store: Store, value: float) -> None:
    spec = spec_of(store, dtype=torch.float32)
    exact = entries(spec, 2)
    for x in exact.tensors:
        x[0, 0, 1, 1, 2] = value
    keys, values = spec.packed(exact).tensors
    assert keys[0, 0, :, 1, 2].isnan().all()
    assert values[0, 0, 1, 1].isnan().all()
    assert int(keys.isnan().sum()) == TOKENS
    assert int(values.isnan().sum()) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("layout", [DENSE, LatentLayout(6, 4), LatentLayout(6, 0)], ids=["dense", "latent", "no keys"])
def test_planned_bytes_are_those_of_the_tensors(layout: Layout, store: Store, dtype: torch.dtype) -> None:
    spec = spec_of(store, layout, dtype)
    made = [spec.packed(entries(spec, 5)) for _ in range(spec.layers)]
    assert storage_bytes(x for each in made for x in each.stored if x.numel()) == spec.bytes(5 * TOKENS)
    assert spec.bytes(5 * TOKENS, dtype) == replace(spec, store=None).bytes(5 * TOKENS)


def test_bytes_of_a_token_at_wan_size() -> None:
    """12 heads of 128 channels, 1560 tokens a frame, bfloat16: 6144 bytes a token a layer."""
    of = {store: MemorySpec(1, DenseLayout(12, 128), 1560, 3, dtype=torch.bfloat16, store=store) for store in STORES}
    share = {store: spec.bytes(1560) / 1560 / 6144 for store, spec in of.items()}
    assert share == pytest.approx({"int8": 0.5085, "int4": 0.2585, "fp8": 0.5042}, abs=1e-4)


@pytest.mark.parametrize("store", STORES)
def test_rows_and_frames_are_packed_by_themselves(store: Store) -> None:
    spec = spec_of(store, dtype=torch.float32)
    whole = entries(spec, 3)
    made = spec.packed(whole)
    for row in range(2):
        for frame in range(3):
            alone = spec.packed(whole[frame : frame + 1].map(lambda x, row=row: x[row : row + 1]))
            there = made[frame : frame + 1].by_frame(lambda x, row=row: x[row : row + 1])
            assert all(map(torch.equal, alone.tensors, there.tensors))


@pytest.mark.parametrize("store", STORES)
def test_slices_copies_and_sums_stay_packed_and_forms_may_mix(store: Store) -> None:
    spec = spec_of(store)
    exact = entries(spec, 5)
    packing = spec.packing
    assert packing is not None
    mixed = packed(exact, packing, exact=2)
    assert mixed.frames == 5
    expected = Entries.cat([exact[:2], spec.packed(exact[2:])])
    assert all(map(torch.equal, mixed.tensors, expected.tensors))
    for first in range(5):
        for last in range(first + 1, 6):
            part = mixed[first:last]
            assert part.frames == last - first
            assert (type(part) is Entries) == (last <= 2)
            assert all(torch.equal(x[:, first:last], y) for x, y in zip(expected.tensors, part.tensors, strict=True))
            copy = part.copy()
            assert type(copy) is type(part)
            assert not {x.data_ptr() for x in copy.stored} & {x.data_ptr() for x in mixed.stored}
            assert all(x.is_contiguous() for x in copy.stored)
            assert all(map(torch.equal, copy.tensors, part.tensors))
    singles = Entries.cat([mixed[frame : frame + 1] for frame in range(5)])
    assert [run.packed for run in singles.runs] == [False, True]  # type: ignore[attr-defined]
    assert all(map(torch.equal, singles.tensors, expected.tensors))
    laid_out = gather([exact[:1].tensors, mixed[1:4], exact[4:].tensors])  # type: ignore[list-item]
    assert torch.equal(laid_out[0][:, TOKENS : 4 * TOKENS], expected.tensors[0][:, 1:4].flatten(1, 2))
    # What computes gets exact entries; all that is exact is lent as it is.
    assert type(mixed.map(torch.zeros_like)) is Entries
    assert type(mixed.mix(exact, 0.5)) is Entries
    assert packed(exact, packing, exact=5) is exact
    assert mixed[5:].frames == 0
    with pytest.raises(ValueError, match="different forms"):
        mixed.by_frame(Tensor.clone)
    with pytest.raises(ValueError, match="one after the other"):
        mixed[::2]


def test_what_is_packed_is_not_packed_again() -> None:
    spec = spec_of("int4")
    once = spec.packed(entries(spec, 3))
    assert all(map(torch.equal, spec.packed(once).stored, once.stored))


@pytest.mark.parametrize("store", STORES)
def test_states_bring_the_same_bits_back(store: Store) -> None:
    spec = spec_of(store, dtype=torch.bfloat16)
    mixed = packed(entries(spec, 3), spec.packing, exact=1)  # type: ignore[arg-type]
    again = restored(mixed.state(), spec.packing)
    assert all(map(torch.equal, again.tensors, mixed.tensors))
    assert [x.dtype for x in again.stored] == [x.dtype for x in mixed.stored]
    whole = entries(spec, 3)
    assert all(map(torch.equal, restored(whole.state(), None).tensors, whole.tensors))


OTHERS: dict[str, Any] = {
    "another store": {"store": "int8"},
    "another layout": {"layout": LatentLayout(4, 4)},
    "another data type": {"dtype": torch.bfloat16},
    "nothing packed": {"store": None},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_state_that_is_packed_otherwise_is_refused_in_one_line(name: str) -> None:
    spec = spec_of("int4")
    state = spec.packed(entries(spec, 1)).state()
    with pytest.raises(
        ResumeError, match=r"this state keeps its frames as int4 of float64 by channel and token"
    ) as said:
        restored(state, replace(spec, **OTHERS[name]).packing)
    assert "\n" not in str(said.value)


class Odd(DenseLayout):
    """A layout of a third party that says nothing of scales."""

    axes = ()


@pytest.mark.parametrize(
    ("layout", "store", "says"),
    [
        (
            DenseLayout(2, 5),
            "int4",
            "DenseLayout cannot be stored as int4: two channels share a byte, and .* has 5; use",
        ),
        (LatentLayout(5, 4), "int4", "LatentLayout cannot be stored as int4: two channels share a byte"),
        (Odd(2, 4), "int8", "Odd cannot be stored as int8: its axes do not say how its tensors are quantised"),
    ],
)
def test_a_layout_that_cannot_be_packed_is_refused_in_one_line(layout: Layout, store: Store, says: str) -> None:
    with pytest.raises(KnobError, match=says) as said:
        spec_of(store, layout)
    assert "\n" not in str(said.value)
    assert Packing.of(DenseLayout(2, 5), "int8", torch.float32).store == "int8"
