"""Rollouts on the pretended device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from harness import registry
from harness.backbone.presets import Backbone, build
from harness.memory import At, Entries, Memory, Strategy
from harness.memory.proxy import Watched, watched
from harness.rollout import EncodedCue, rollout
from harness.rollout.noise import PairedNoise
from harness.rollout.state import State
from harness.verify.bench import CONFIG, LATENT_SIZE
from tests.device import pretended

CHUNK, CHUNKS = 3, 8
"""Frames of a chunk, and chunks of a rollout: enough for the windows to be full and to evict."""
ALLOWED: dict[str, tuple[str, ...]] = {}
"""Lines at which a strategy's host waits for the device in a pass, by strategy. Each is a limit of its speed."""


def backbone(device: str = "cuda", dtype: str = "bfloat16") -> Backbone:
    """The tiny model of `horizon verify`."""
    return Backbone(
        model=build(CONFIG, device=device, dtype=dtype), latent_size=LATENT_SIZE, trained_frames=9, name="workbench"
    )


def prompts(rows: int, config: Any = CONFIG) -> Tensor:
    """Embeddings on the CPU, where text encoders may leave them."""
    return torch.zeros(rows, 3, config.text_dim)


@contextmanager
def cuda(name: str) -> Iterator[pretended.Host]:
    """The pretended device, with what the strategy is allowed."""
    with pretended.cuda(ALLOWED.get(name, ())) as host:
        yield host


def roll(stage: Backbone, strategy: Strategy, *, rows: int = 1, chunks: int = CHUNKS, **options: Any) -> State:
    """Run a rollout with a switch in its middle and another kind of switch later; return the state after its end."""
    frames, config = chunks * stage.chunk, stage.model.config
    switches = [EncodedCue(frames * part // 8 // 3 * 3, prompts(rows, config), kind)
                for part, kind in ((4, "smooth"), (6, "hardcut"))] if chunks >= CHUNKS else []  # fmt: skip
    given = {
        "prompts": prompts(rows, config),
        "latent_frames": frames,
        "latent_size": stage.latent_size,
        "noise": PairedNoise([(row, "a") for row in range(rows)]),
        "switches": switches,
    }
    state: State | None = None
    for chunk in rollout(stage, strategy, **given | options):
        assert chunk.latents.device.type == stage.model.device.type
        assert chunk.latents.dtype == stage.model.dtype
        if chunk.start + stage.chunk == frames:
            state = chunk.state()
    assert state is not None
    return state


class OnTheCpu(Watched):
    """A memory with a planted mistake: it scales its context by weights that are on the CPU."""

    def recall(self, layer: int, query: Tensor | None, at: At) -> Any:
        from dataclasses import replace

        context: Any = super().recall(layer, query, at)
        tokens = sum(slot.frames * slot.tensors[0].shape[2] for slot in context.slots)
        return replace(context, weights=torch.ones(1, tokens))


class Reading(Watched):
    """A memory with a planted mistake: it reads a number from the device for each layer."""

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        if entries.tensors[0].float().norm().item() >= 0:
            super().remember(layer, entries, query, at)


def mistaken(kind: type[Memory]) -> Strategy:
    """A sliding window whose memory has a planted mistake."""
    return watched(registry.strategy("sliding_window"), kind)  # type: ignore[arg-type]
