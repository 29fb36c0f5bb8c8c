"""Clips with their prompts, on which a backbone or a part of it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.memory.terms import Boundary
from harness.training.schedule import Exercise


@dataclass(frozen=True)
class Clips:
    """Latent clips with their prompts.

    clean: the latents that are remembered, [B, F, C, H, W]. answer: the target latents, of the same shape. prompts: the
    embeddings of all prompts of all clips, [P, L, text_dim]. heard: index into `prompts` of each chunk's prompt, int64
    [B, chunks]. opens: chunks whose picture does not depend on the chunks before them, bool [B, chunks]. emphasis:
    weights of the loss, 1 on average, [B, F, 1, H, W]. spread: standard deviation of the latents. visible: function
    from what each chunk sees (`Arrangement.seen`) to the share of the loss that counts, of the shape of `emphasis`;
    None where everything counts. texts, kinds: words of each prompt, and the boundary at which it begins. encode:
    function from words to embeddings. The last three are given only for clips that switch together.
    """

    clean: Tensor
    answer: Tensor
    prompts: Tensor
    heard: Tensor
    opens: Tensor
    emphasis: Tensor
    spread: float = 1.0
    visible: Callable[[Tensor], Tensor] | None = None
    texts: Sequence[str] = ()
    kinds: Sequence[Boundary] = ()
    encode: Callable[[Sequence[str]], Tensor] | None = None

    def to(self, device: torch.device) -> Clips:
        """Return the clips on a device."""
        moved: dict[str, Any] = {name: x.to(device) for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **moved)


Source = Callable[[int, int, Exercise], Clips]
"""Function from a seed, the number of a training step, and an exercise to clips; it depends on its arguments only."""
