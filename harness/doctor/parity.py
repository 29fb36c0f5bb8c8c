"""The same small rollouts on the device and on the CPU, number by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from harness import registry
from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan
from harness.doctor.checks import Check
from harness.errors import why
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench

GROUP = "parity"
TOLERANCE = 1e-3
"""Largest allowed difference of a latent, whose standard deviation is about 1, in float32 without TF32."""


def difference(name: str, device: torch.device) -> float:
    """Return the largest difference of the latents of a strategy's rollouts on a device and on the CPU.

    Parameters
    ----------
    name
        The strategy; its rollout has a prompt switch, on a tiny model with random weights.
    device
        The device.
    """
    with exact_products():
        first, second = (_latents(name, each) for each in (torch.device("cpu"), device))
    return max(float((a - b.cpu()).abs().max()) for a, b in zip(first, second, strict=True))


def check_parity(
    names: Sequence[str], device: torch.device, measure: Callable[[str, torch.device], float]
) -> Iterator[Check]:
    """Yield a check for each strategy whose rollouts differ, and one about all.

    Parameters
    ----------
    names
        The strategies.
    device
        The device.
    measure
        Returns the largest difference of a strategy's latents on the device and on the CPU.
    """
    if device.type == "cpu":
        yield Check(GROUP, "parity", "ok", "the device is the CPU: there is nothing to compare")
        return
    found: dict[str, float] = {}
    for name in names:
        try:
            found[name] = measure(name, device)
        except Exception as error:
            # A device may fail in any way, and the others are still worth trying.
            yield Check(
                GROUP, name, "broken", why(error)[:160], f"{name} does not run on {device}: report this as a bug"
            )
            continue
        if not found[name] <= TOLERANCE:
            advice = f"{name} computes other numbers on {device}: update driver and torch, or report this as a bug"
            told = f"{found[name]:.1e} from the CPU; allowed: {TOLERANCE:.0e}"
            yield Check(GROUP, name, "broken", told, advice, {"difference": found[name]})
    alike = {name: each for name, each in found.items() if each <= TOLERANCE}
    if alike:
        told = f"{len(alike)} of {len(names)} strategies within {max(alike.values()):.1e} of the CPU"
        yield Check(GROUP, "parity", "ok", told, facts={"differences": found})


def _latents(name: str, device: torch.device) -> list[torch.Tensor]:
    model = scramble(CausalWan(CONFIG)).requires_grad_(False).to(device)
    bench = Workbench(registry.strategy(name), Backbone(model=model, latent_size=LATENT_SIZE, trained_frames=9))
    return bench.latents(switches=bench.switches(2))


@contextmanager
def exact_products() -> Iterator[None]:
    """Compute float32 products in float32 while the block runs."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution
