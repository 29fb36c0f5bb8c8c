from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.sampler import Sampler, sigma_table, to_clean, to_noisy
from harness.errors import PresetError
from tests.oracle import sampler as oracle

SHIFTS = [1.0, 5.0, 8.0]
HALF_ULP = 2**-25  # of a float32 below 1


def closed_form(step: int, shift: float) -> float:
    """s u / (1 + (s - 1) u) with u = step / 1000, as an exact fraction."""
    u = Fraction(step, 1000)
    return float(Fraction(shift) * u / (1 + (Fraction(shift) - 1) * u))


def latents(seed: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(
        dtype
    )


@pytest.mark.parametrize("shift", SHIFTS)
def test_table_is_the_closed_form(shift: float) -> None:
    expected = [closed_form(step, shift) for step in range(1000, 0, -1)]
    table = sigma_table(shift)
    assert table.dtype == torch.float64
    assert table.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", SHIFTS)
@given(steps=st.lists(st.integers(1, 1000), min_size=1, max_size=6))
def test_sigmas_and_timesteps(shift: float, steps: list[int]) -> None:
    """Any number of steps; both numbers are the closed form, rounded to float32 once."""
    sampler = Sampler(steps=tuple(steps), shift=shift)
    expected = [closed_form(step, shift) for step in steps]
    assert sampler.sigmas == pytest.approx(expected, abs=HALF_ULP)
    assert sampler.timesteps == pytest.approx([1000 * sigma for sigma in expected], abs=1e-4)
    for value in (*sampler.sigmas, *sampler.timesteps):
        assert float(torch.tensor(value, dtype=torch.float32)) == value


def test_published_steps() -> None:
    assert Sampler().sigmas == pytest.approx((1, 15 / 16, 5 / 6, 5 / 8), abs=HALF_ULP)
    assert Sampler(shift=8).sigmas == pytest.approx((1, 24 / 25, 8 / 9, 8 / 11), abs=HALF_ULP)
    assert Sampler(shift=1).timesteps == pytest.approx((1000, 750, 500, 250), abs=1e-4)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", [(1000,), (1000, 500), (1000, 750, 500, 250), (999, 1)])
def test_sampler_of_the_oracle(steps: tuple[int, ...], shift: float) -> None:
    timesteps = oracle.warp_steps(steps, shift)
    sampler = Sampler(steps=steps, shift=shift)
    assert sampler.timesteps == pytest.approx(timesteps, rel=1e-6)
    assert sampler.sigmas == pytest.approx([oracle.sigma_at(t, shift) for t in timesteps], rel=1e-6)


@pytest.mark.parametrize("shift", SHIFTS)
def test_zero_as_the_last_step(shift: float) -> None:
    """A trailing 0, as in some published configurations, tells the network that the latent is clean; its noise level
    is the nearest of a table that ends just above 0."""
    sampler = Sampler(steps=(1000, 0), shift=shift)
    assert sampler.timesteps == tuple(oracle.warp_steps((1000, 0), shift)) == (1000, 0)
    assert sampler.sigmas[1] == pytest.approx(oracle.sigma_at(0.0, shift), rel=1e-6)
    assert sampler.sigmas[1] == Sampler(steps=(1000, 1), shift=shift).sigmas[1] > 0


@pytest.mark.parametrize("steps", [(1000, 1001), (1500,), (1000, -1), (999.5,), ()], ids=str)
def test_steps_outside_of_the_schedule_are_refused(steps: Any) -> None:
    with pytest.raises(PresetError) as caught:
        Sampler(steps=steps)
    assert str(steps) in str(caught.value)
    assert "0 to 1000" in str(caught.value)


@pytest.mark.parametrize("shift", [0.0, -5.0, float("nan"), float("inf")])
def test_an_impossible_shift_is_refused(shift: float) -> None:
    """Infinity would make every noise level NaN."""
    with pytest.raises(PresetError, match=f"shift {shift} must be positive"):
        Sampler(shift=shift)


@pytest.mark.parametrize("timestep", [-1.0, 1000.5, float("nan"), float("inf")])
def test_an_impossible_context_noise_is_refused(timestep: float) -> None:
    with pytest.raises(PresetError, match=f"context noise {timestep} must be a timestep"):
        Sampler(context_noise=timestep)


@given(sigma=st.floats(0, 1), seed=st.integers(0, 999), scale=st.sampled_from([1e-3, 1.0, 30.0]))
def test_denoising_undoes_noising(sigma: float, seed: int, scale: float) -> None:
    """With the true flow, noise - clean, every noise level leads back to the clean latents."""
    clean, noise = latents(seed, torch.float64, scale), latents(seed + 1000, torch.float64)
    noisy = to_noisy(clean, noise, sigma)
    torch.testing.assert_close(to_clean(noisy, noise - clean, sigma), clean, rtol=0, atol=1e-13 * max(1, scale))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_ends_of_the_path(dtype: torch.dtype) -> None:
    clean, noise = latents(0, dtype), latents(1, dtype)
    assert torch.equal(to_noisy(clean, noise, 0.0), clean)
    assert torch.equal(to_noisy(clean, noise, 1.0), noise)
    assert torch.equal(to_clean(noise, latents(2, dtype), 0.0), noise)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sigma", Sampler().sigmas)
def test_half_precision_is_mixed_in_wider_arithmetic(dtype: torch.dtype, sigma: float) -> None:
    """Exactly the float32 result rounded once (the published mixing), and the flow is taken off in float64."""
    clean, noise = latents(3, dtype, 4.0), latents(4, dtype)
    noisy = to_noisy(clean, noise, sigma)
    assert noisy.dtype == dtype
    in_float32 = (1 - sigma) * clean.float() + sigma * noise.float()
    assert torch.equal(noisy, in_float32.to(dtype))

    taken_off = to_clean(noisy, noise, sigma)
    assert taken_off.dtype == dtype
    assert torch.equal(taken_off, (noisy.double() - sigma * noise.double()).to(dtype))
    if 0 < sigma < 1:
        # Otherwise this test could not tell: mixing in half precision itself gives other bits.
        narrow = (1 - torch.tensor(sigma, dtype=dtype)) * clean + torch.tensor(sigma, dtype=dtype) * noise
        assert not torch.equal(noisy, narrow)


def test_float32_flow_is_taken_off_in_float64() -> None:
    noisy, flow = latents(5, torch.float32, 1000.0), latents(6, torch.float32, 1000.0)
    sigma = Sampler().sigmas[2]
    exact = (noisy.double() - sigma * flow.double()).float()
    assert torch.equal(to_clean(noisy, flow, sigma), exact)
    assert not torch.equal(noisy - sigma * flow, exact)
