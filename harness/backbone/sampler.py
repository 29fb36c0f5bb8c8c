"""The few-step flow-matching sampler of Self-Forcing.

Source: Self-Forcing, arXiv:2506.08009. A step predicts the clean latent x0 from the flow; between steps x0 is noised
again with *fresh* noise, so the sampler is stochastic (consistency style), not an ODE solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.errors import PresetError
from harness.memory.entries import at_least_float32

TRAIN_STEPS = 1000


def sigma_table(shift: float) -> Tensor:
    """Return the noise levels of the shifted schedule, descending from 1, float64 [1000]; timestep = 1000 * sigma."""
    linear = torch.linspace(1, 0, TRAIN_STEPS + 1, dtype=torch.float64)[:-1]
    return shift * linear / (1 + (shift - 1) * linear)


@dataclass(frozen=True)
class Sampler:
    """The noise levels that a chunk passes through.

    Parameters
    ----------
    steps: indices into the *unshifted* schedule, as in the published configurations; they are warped by the shift.
    shift: the flow-matching shift; the published models use 5 (their wrapper's default of 8 is not used).
    context_noise: timestep given to the commit pass. The latent itself is not noised.
    """

    steps: tuple[int, ...] = (1000, 750, 500, 250)
    shift: float = 5.0
    context_noise: float = 0.0

    def __post_init__(self) -> None:
        wrong = [step for step in self.steps if not (isinstance(step, int) and 0 <= step <= TRAIN_STEPS)]
        if wrong or not self.steps:
            raise PresetError(
                f"sampler steps {self.steps}: {wrong or 'none'} given; needed: at least one step, whole numbers from 0 "
                f"to {TRAIN_STEPS}"
            )
        if not 0 < self.shift < math.inf:
            raise PresetError(f"sampler shift {self.shift} must be positive and finite; the published models use 5")
        if not 0 <= self.context_noise <= TRAIN_STEPS:
            raise PresetError(f"context noise {self.context_noise} must be a timestep from 0 to {TRAIN_STEPS}")

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """One noise level for each denoising pass: 1, .9375, .8333, .625 for the published steps.

        Each is rounded to float32 once, because the published table is float32. A step of 0 is beyond the end of the
        table and takes its last level, the nearest one, as released.
        """
        table = sigma_table(self.shift).float().double()
        return tuple(float(table[min(TRAIN_STEPS - step, TRAIN_STEPS - 1)]) for step in self.steps)

    @property
    def timesteps(self) -> tuple[float, ...]:
        """Timestep given to the network at each denoising pass, on the 0..1000 scale; 0 for a step of 0."""
        told = (TRAIN_STEPS * sigma * (step > 0) for step, sigma in zip(self.steps, self.sigmas, strict=True))
        return tuple(float(torch.tensor(timestep, dtype=torch.float32)) for timestep in told)

    def draw(self, fresh: Callable[[int], Tensor], flow: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return clean latents from noise. fresh(step): new noise for a step. flow(noisy, step): predicted flow."""
        clean = noisy = fresh(0)
        for step, sigma in enumerate(self.sigmas):
            if step:
                noisy = to_noisy(clean, fresh(step), sigma)
            clean = to_clean(noisy, flow(noisy, step), sigma)
        return clean


def to_clean(noisy: Tensor, flow: Tensor, sigma: float) -> Tensor:
    """Return x0 = x - sigma * flow, computed in float64, in the dtype of `noisy`."""
    return (noisy.double() - sigma * flow.double()).to(noisy.dtype)


def to_noisy(clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Return (1 - sigma) * x0 + sigma * noise; half precisions are mixed in float32."""
    wide = at_least_float32(clean.dtype)
    return ((1 - sigma) * clean.to(wide) + sigma * noise.to(wide)).to(clean.dtype)
