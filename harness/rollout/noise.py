"""Paired noise: every random number is a function of (seed, prompt, chunk, pass) and of nothing else.

Two strategies, a batch and its single rows, a CPU and a GPU, an interrupted and an undisturbed rollout all see the same
noise, so that a difference between two rollouts is the memory's doing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from harness.errors import ShapeError


class Noise(Protocol):
    """What a rollout draws from; results of `shape` [B, frames, C, H, W], or ones that broadcast to it."""

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        """The noise that generated chunk number `chunk` starts from."""

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        """The fresh noise added after denoising step `step` of that chunk."""


class PairedNoise:
    """Standard normal noise, float32 on the CPU, from a counter-based stream (Philox) for each row.

    Parameters
    ----------
    rows: one (seed, prompt) a batch row; the prompt by its text or any other name that identifies it.
    """

    def __init__(self, rows: Sequence[tuple[int, str]]) -> None:
        self.rows = tuple(rows)
        self._keys = [
            np.frombuffer(hashlib.blake2b(f"{seed}\0{prompt}".encode(), digest_size=16).digest(), dtype="<u8")
            for seed, prompt in self.rows
        ]

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return self._draw(chunk, 0, shape)

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return self._draw(chunk, step + 1, shape)

    def _draw(self, chunk: int, number: int, shape: torch.Size) -> Tensor:
        if shape[0] != len(self._keys):
            raise ShapeError(
                f"the noise was made for {len(self._keys)} rows, not {shape[0]}; give one (seed, prompt) a row"
            )
        # The low counter words count within a draw; the high ones say which draw it is, so no two draws overlap.
        rows = [
            np.random.Generator(np.random.Philox(key=key, counter=[0, 0, number, chunk])).standard_normal(
                tuple(shape[1:]), dtype=np.float32
            )
            for key in self._keys
        ]
        return torch.from_numpy(np.stack(rows))


class RepeatedNoise:
    """Noise of which every chunk starts from that of the first; what is added between steps stays fresh.

    The sampling script of Rolling Sink (arXiv:2602.07775) draws so.

    Parameters
    ----------
    noise: what is drawn from.
    """

    def __init__(self, noise: Noise) -> None:
        self.noise = noise

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return self.noise.initial(0, shape)

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return self.noise.renoise(chunk, step, shape)
