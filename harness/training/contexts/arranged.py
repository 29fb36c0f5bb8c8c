"""Teacher forcing with contexts like those of memories.

In plain teacher forcing a chunk attends to all true frames before it, each whole and at its own time. Contexts of
memories are different: few frames, gaps between them, other temporal ids, averages, single tokens, scaled or rounded
entries. An `Arrangement` defines the context of every chunk of every clip: a number of slots, each a mixture of past
frames at some temporal id. It is data and not code, so one compiled pass trains on all kinds at once, and gradients
reach keys and values as well as queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backbone.rope import Rope, rotate
from harness.training.clips import Clips


@dataclass(frozen=True)
class Arrangement:
    """The context of every chunk; B clips, C chunks, L slots, F frames of a clip, S tokens of a frame.

    Attributes
    ----------
    mixture: share of every past frame in a slot, [B, C, L, F].
    other: the same for the tokens of a slot that come from other frames.
    swapped: the tokens for which `other` holds, bool [B, C, L, S].
    pooled: slots whose tokens are all replaced by their mean, bool [B, C, L].
    there: tokens that are present, bool [B, C, L, S].
    heads: heads that see a slot, bool [B, C, L, heads].
    scale: of key and value, [B, C, L].
    times: temporal ids of the slots, [B, C, L].
    start: temporal id of the chunk's first frame, [B, C].
    replayed: the prompt under which each chunk is remembered, as in `Clips.heard`, [B, C].
    counts: chunks whose loss counts, bool [B, C].
    seen: temporal ids relative to the chunk of the frames that it sees whole, [B, C, F]; NaN for the others.
    jitter: noise on keys and values in their standard deviations, [B, F, S, 1, channels].
    """

    mixture: Tensor
    other: Tensor
    swapped: Tensor
    pooled: Tensor
    there: Tensor
    heads: Tensor
    scale: Tensor
    times: Tensor
    start: Tensor
    replayed: Tensor
    counts: Tensor
    seen: Tensor
    jitter: Tensor

    def to(self, device: torch.device) -> Arrangement:
        """Return the arrangement on a device."""
        return Arrangement(*(x.to(device) for x in vars(self).values()))


class Arranged:
    """Self-attention of doubled rows [2 B, N, heads, channels] as in `Forced`, for un-rotated queries and keys.

    Both halves use the arrangement, since a rollout also computes the entries that it remembers with such a context.
    """

    def __init__(self, arrangement: Arrangement, rope: Rope, chunk: int) -> None:
        self.arrangement, self.chunk = arrangement, chunk
        # Each row is one chunk of one clip.
        self.slots = rope.frames(arrangement.times.flatten(0, 1))
        steps = torch.arange(chunk, device=arrangement.start.device)
        self.own = rope.frames(arrangement.start.flatten()[:, None] + steps)
        there = arrangement.there[:, :, None] & arrangement.heads.transpose(2, 3)[..., None]
        absent = torch.zeros(there.shape, device=steps.device).masked_fill(~there, -torch.inf)
        absent = absent.flatten(3).flatten(0, 1)
        own = absent.new_zeros(*absent.shape[:2], self.own.shape[1])
        self.bias = torch.cat((absent, own), -1)[:, :, None]

    def __call__(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        rows, size = query.shape[0], self.own.shape[1]
        half, tokens = rows // 2, size // self.chunk
        turn = torch.cat((self.own, self.own))
        query, keys_here, values_here = (x.unflatten(1, (-1, size)).flatten(0, 1) for x in (query, keys, values))
        query, keys_here = rotate(query, turn), rotate(keys_here, turn)
        jitter = self.arrangement.jitter
        past = [
            self._slots(x[:half].unflatten(1, (-1, tokens)), noise)
            for x, noise in ((keys, jitter), (values, jitter.flip(2)))
        ]
        past[0] = rotate(past[0], self.slots)
        seen_keys, seen_values = (
            torch.cat((torch.cat((x, x)), y), 1) for x, y in zip(past, (keys_here, values_here), strict=True)
        )
        answer = _attend(query, seen_keys, seen_values, torch.cat((self.bias, self.bias)))
        return answer.unflatten(0, (rows, -1)).flatten(1, 2)

    def _slots(self, frames: Tensor, noise: Tensor) -> Tensor:
        """Return the slots [B * C, L * S, heads, channels] of frames [B, F, S, heads, channels]."""
        given = self.arrangement
        frames = frames + (frames.detach().float().std() * noise).to(frames.dtype)
        flat = frames.flatten(2)
        one, two = (
            (mixture.flatten(1, 2).to(flat.dtype) @ flat).unflatten(2, frames.shape[2:])
            for mixture in (given.mixture, given.other)
        )
        slots = torch.where(given.swapped.flatten(1, 2)[..., None, None], two, one)
        slots = torch.where(given.pooled.flatten(1, 2)[..., None, None, None], slots.mean(2, keepdim=True), slots)
        slots = slots * given.scale.flatten(1, 2)[..., None, None, None].to(slots.dtype)
        return slots.unflatten(1, given.scale.shape[1:]).flatten(0, 1).flatten(1, 2)


def _attend(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Return softmax attention [B, N, heads, channels] with a bias [B, heads, 1, M], computed as two products."""
    query, keys, values = (x.transpose(1, 2) for x in (query, keys, values))
    scores = (query @ keys.transpose(-1, -2)).float() * query.shape[-1] ** -0.5 + bias
    return (scores.softmax(-1).to(values.dtype) @ values).transpose(1, 2)


def identity_rotation(rotation: Tensor) -> Tensor:
    """Return the identity rotation of the same shape [B, N, 1, pairs, 2]; `Arranged` rotates on its own."""
    still = torch.zeros_like(rotation)
    still[..., 0] = 1
    return still


@dataclass(frozen=True)
class Draw:
    """The clips of one step, each chunk with a noise level of its own.

    levels: step of the sampler for each chunk, [B, chunks]. timesteps: the same on the 0..1000 scale. noisy, flow:
    input and target, [B, F, C, H, W]. context: the latents that are remembered, of the same shape. arrangement: the
    context of each chunk, if one was drawn. seen: temporal ids, relative to each chunk, of the frames in its context,
    [B, chunks, F], NaN for the others; None where the context holds all of them.
    """

    clips: Clips
    levels: Tensor
    timesteps: Tensor
    noisy: Tensor
    flow: Tensor
    context: Tensor
    arrangement: Arrangement | None = None
    seen: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """Weights of the loss, [B, F, 1, H, W]: 0 where neither prompt nor context determines the picture."""
        weights, visible = self.clips.emphasis, self.clips.visible
        if self.seen is not None and visible is not None:
            weights = weights * visible(self.seen.cpu()).to(weights)
        if self.arrangement is not None:
            counts = self.arrangement.counts
            chunk = weights.shape[1] // counts.shape[1]
            weights = weights * counts.repeat_interleave(chunk, 1)[:, :, None, None, None]
        return weights
