"""Tokens that a memory scores, a frame at a time, so that no score needs all their rotated keys at once.

Shapes: B batch rows, S tokens of a latent frame, N tokens, Q query tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.memory.entries import Entries, Layout

QUERIES = 512
"""Query tokens, of all rows together, that meet the keys of a frame at once."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one layer that are scored; scores are [B, N], in the order of `frames`, and larger is better.

    Parameters
    ----------
    layout
        What is cached of a token.
    frames
        Entries of one frame each, [B, 1, S, ...]; tokens that were chosen before come packed into whole frames.
    positions
        (time, row, column) of every token, [B or 1, N, 3].
    query
        Un-rotated queries [B, Q, heads, channels]; None where the strategy does not read them.
    asked
        (time, row, column) of every query token, [1, Q, 3].
    before
        Scores of the time before, [B, N], 0 for tokens that are new; 0.0 unless the strategy accumulates scores.
    """

    layout: Layout
    frames: Sequence[Entries]
    positions: Tensor
    query: Tensor | None
    asked: Tensor
    before: Tensor | float = 0.0

    def unrotated_keys(self) -> Iterator[Tensor]:
        """Return the un-rotated keys of each frame, [B, S, heads, channels]."""
        return (self.layout.keys(frame)[:, 0] for frame in self.frames)

    def rotated_keys(self) -> Iterator[Tensor]:
        """Return the rotated keys of each frame, [B, S, heads, channels], in float32 at least."""
        first = 0
        for keys in self.unrotated_keys():
            yield self.layout.rotated(keys, self.positions[:, first : first + keys.shape[1]])
            first += keys.shape[1]

    def rotated_queries(self) -> list[Tensor]:
        """Return the rotated queries in pieces, [B, at most `QUERIES` / B, heads, channels], in float32 at least.

        Raises
        ------
        ValueError
            Where there is no query: the strategy has to declare `reads_query`.
        """
        if self.query is None:
            raise ValueError("there is no query to score tokens by; a strategy that needs it declares reads_query")
        size = max(1, QUERIES // self.query.shape[0])
        pieces = zip(self.query.split(size, 1), self.asked.split(size, 1), strict=True)
        return [self.layout.rotated(piece, at) for piece, at in pieces]

    def attention(self) -> Tensor:
        """Return the attention that each token gets from all queries, [B, N]: summed over these, mean over heads.

        The softmax is over these tokens; keys are rotated twice, so that neither keys nor weights are there as a whole.
        """
        queries = self.rotated_queries()
        sums: list[Tensor] | None = None
        for keys in self.rotated_keys():
            here = [_logits(query, keys).logsumexp(-1) for query in queries]
            sums = here if sums is None else [torch.logaddexp(*pair) for pair in zip(sums, here, strict=True)]
        assert sums is not None
        mass = []
        for keys in self.rotated_keys():
            each = zip(queries, sums, strict=True)
            mass.append(
                torch.stack([_logits(query, keys).sub_(sum[..., None]).exp_().sum((1, 2)) for query, sum in each]).sum(
                    0
                )
            )
        return torch.cat(mass, 1) / queries[0].shape[2]


def _logits(query: Tensor, keys: Tensor) -> Tensor:
    """Products that the softmax of attention sees, [B, heads, queries, keys]."""
    scaled = query.transpose(1, 2) * query.shape[-1] ** -0.5
    return scaled @ keys.permute(0, 2, 3, 1)
