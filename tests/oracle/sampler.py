"""Few-step flow-matching sampler (spec section 2.1)."""

import torch
from torch import Tensor

TRAIN_TIMESTEPS = 1000


def sigma_table(shift: float) -> Tensor:
    """Shifted noise levels [1000], descending from 1, in float32."""
    sigma = torch.linspace(1.0, 0.0, TRAIN_TIMESTEPS + 1)[:-1]
    return shift * sigma / (1 + (shift - 1) * sigma)


def timestep_table(shift: float) -> Tensor:
    """Timesteps [1000] of the noise levels: index 0 is 1000."""
    return TRAIN_TIMESTEPS * sigma_table(shift)


def warp_steps(steps: tuple[int, ...], shift: float) -> list[float]:
    """Denoising steps on the linear scale -> the timesteps fed to the network; 0 stays 0."""
    table = [*timestep_table(shift).tolist(), 0.0]
    return [table[TRAIN_TIMESTEPS - step] for step in steps]


def sigma_at(timestep: float, shift: float) -> float:
    """Noise level of the table entry whose timestep is nearest."""
    nearest = int((timestep_table(shift) - timestep).abs().argmin())
    return float(sigma_table(shift)[nearest])


def predict_clean(noisy: Tensor, velocity: Tensor, sigma: float) -> Tensor:
    """Clean latents x0 = x_t - sigma * velocity, in float64; any shape, type of x_t kept."""
    return (noisy.double() - sigma * velocity.double()).to(noisy.dtype)


def renoise(clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Noisy latents (1 - sigma) * x0 + sigma * noise, at least in float32; any shape, type of x0 kept."""
    wide = torch.promote_types(clean.dtype, torch.float32)
    return ((1 - sigma) * clean.to(wide) + sigma * noise.to(wide)).to(clean.dtype)
