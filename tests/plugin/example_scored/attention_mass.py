"""Attention mass: the tokens that were attended to most stay, the heavy hitters.

Paper: arXiv:2306.14048, for language models. Mass is added up over the commit passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from harness.memory.scored import Scored, Tokens


@dataclass(frozen=True, kw_only=True)
class AttentionMass(Scored):
    """Sink frames, the tokens that were attended to most, and recent frames."""

    paper = "https://arxiv.org/abs/2306.14048"
    reads_query = True
    accumulates = True

    def scores(self, tokens: Tokens) -> Tensor:
        return tokens.before + tokens.attention()
