"""What a backbone, or something in it, is trained on."""

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

    clean: what is remembered, [B, F, C, H, W]. answer: what is to be drawn, of the same shape. prompts: those of all
    clips, [P, L, text_dim]. heard: which one each chunk hears, int64 [B, chunks]. opens: whether a chunk begins what
    nothing before it determines, bool [B, chunks]. emphasis: weights of the loss, 1 on average, [B, F, 1, H, W].
    spread: standard deviation of the latents. visible: share of the loss that counts, of the shape of `emphasis`, from
    what each chunk sees (`Arrangement.seen`); None where everything counts. texts, kinds: the prompts in words, and the
    boundary that each is entered by; encode: words to embeddings. Only for clips that switch together.
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
        """The clips on a device."""
        moved: dict[str, Any] = {name: x.to(device) for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **moved)


Source = Callable[[int, int, Exercise], Clips]
"""Clips of a seed, for the lesson of this number: a function of its arguments only."""
