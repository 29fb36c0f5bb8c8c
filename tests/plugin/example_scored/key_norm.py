"""Key norm: the tokens with the shortest keys stay.

Paper: arXiv:2406.11430, for language models. The norm is of the key before it is rotated, which turns no length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.memory.scored import Scored, Tokens


@dataclass(frozen=True, kw_only=True)
class KeyNorm(Scored):
    """Sink frames, the tokens with the shortest keys, and recent frames."""

    paper = "https://arxiv.org/abs/2406.11430"

    def scores(self, tokens: Tokens) -> Tensor:
        return -torch.cat([keys.norm(dim=-1).mean(-1) for keys in tokens.unrotated_keys()], 1)
