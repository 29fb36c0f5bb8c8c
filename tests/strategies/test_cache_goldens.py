"""The caches that the authors' released code holds after the last chunk: every stored one of the folder `sinks`.

The released code caches what the last chunk attended to and the chunk itself, so that is what is compared: the context
of the last chunk's passes, and the entries of its commit.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.backbone.rope import Rope, head_radians, rotate
from harness.memory import At, Context, Entries, Memory
from harness.memory.proxy import Watched, watched
from harness.registry import strategy
from harness.rollout import rollout
from tests import goldens

TOLERANCE = 2e-5
TOKENS, COLUMNS = 12, 4
STORED: dict[str, tuple[str, dict[str, Any], int]] = {
    "deepforcing_default": ("deep_forcing", {}, 75),
    "deepsink_s14": ("deep_forcing", {"compression": False, "sink": 14}, 75),
    "rollingsink_default": ("rolling_sink", {"positions": "absolute"}, 75),
    "emasink_default": ("ema_sink", {}, 45),
}


class Noted(Watched):
    """Notes the first layer's context of each chunk, and what is committed last."""

    context: Context
    entries: Entries

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        context = super().recall(layer, query, at)
        if layer == 0:
            self.context = context
        return context

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        if layer == 0:
            self.entries = entries.map(Tensor.clone)
        super().remember(layer, entries, query, at)


def last(file: str) -> Noted:
    """Roll out, commit the last chunk, and return the memory."""
    name, knobs, frames = STORED[file]
    seen: list[Noted] = []

    def watch(memory: Memory) -> Memory:
        seen.append(Noted(memory))
        return seen[0]

    *_, chunk = rollout(
        goldens.model(),
        watched(strategy(name, **knobs), watch),
        prompts=goldens.prompts()[0],
        latent_frames=frames,
        latent_size=(6, 8),
        noise=goldens.sinks_noise(),
    )
    chunk.state()
    return seen[0]


def tokens(*slots: Entries) -> tuple[Tensor, Tensor]:
    """Return keys and values of frames, token by token, [N, heads, channels]."""
    keys, values = (x[0].flatten(0, 1) for x in Entries.cat(slots).tensors)
    return keys, values


def places(context: Context, frames: int) -> Tensor:
    """Return (time, row, column) of all tokens of a context and of the chunk behind it, [N, 3]."""
    found = context.positions
    if not isinstance(found, Tensor):
        found = whole(found)
    return torch.cat(
        (found[0] if found.ndim == 3 else found, whole(range(int(context.start), int(context.start) + frames)))
    )


def whole(times: Any) -> Tensor:
    """Return (time, row, column) of the tokens of whole frames, [N, 3]."""
    time = torch.tensor(list(times)).repeat_interleave(TOKENS)
    place = torch.arange(TOKENS).repeat(len(time) // TOKENS)
    return torch.stack((time, place // COLUMNS, place % COLUMNS), 1)


def turned(keys: Tensor, at: Tensor) -> Tensor:
    return rotate(keys[None], Rope(head_radians(20), (TOKENS // COLUMNS, COLUMNS)).tokens(at[None]))[0]


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


def test_every_stored_cache_is_compared() -> None:
    files = [path.stem for path in goldens.SINKS.glob("*.safetensors")]
    assert {file for file in files if "layer0_cache_k_final" in goldens.load(file, goldens.SINKS)} == set(STORED)


@pytest.mark.parametrize("file", [file for file, (name, *_) in STORED.items() if name == "deep_forcing"])
def test_deep_forcing_s_cache_is_the_released_one(file: str) -> None:
    """Sink, chosen tokens and frames, each at its temporal id and place; keys turned."""
    golden, memory = goldens.load(file, goldens.SINKS), last(file)
    keys, values = tokens(*memory.context.slots, memory.entries)
    at = places(memory.context, memory.entries.frames)
    assert (
        torch.stack((at[:, 0], at[:, 1] * COLUMNS + at[:, 2]), 1).tolist() == golden["layer0_cache_ids_final"].tolist()
    )
    close(turned(keys, at), golden["layer0_cache_k_final"])
    close(values, golden["layer0_cache_v_final"])


def test_rolling_sink_s_cache_is_the_released_one() -> None:
    """The frames of the chunk before the last one are replaced already, by those of the next chunk's context."""
    golden, memory = goldens.load("rollingsink_default", goldens.SINKS), last("rollingsink_default")
    following = memory.inner.recall(0, None, At(75, 3, 0, False))
    slots = [*memory.context.slots[:15], *following.slots[12:15], memory.entries]
    assert list(memory.context.positions) == list(range(54, 72))
    assert list(following.positions) == list(range(57, 75))
    keys, values = tokens(*slots)
    close(turned(keys, whole(range(54, 75))), golden["layer0_cache_k_final"])
    close(values, golden["layer0_cache_v_final"])


def test_ema_sink_s_cache_is_the_released_one() -> None:
    """Un-rotated, in the order of the slots."""
    golden, memory = goldens.load("emasink_default", goldens.SINKS), last("emasink_default")
    assert list(memory.context.positions) == list(range(6))
    for ours, theirs in zip(tokens(*memory.context.slots, memory.entries), "kv", strict=True):
        close(ours, golden[f"layer0_cache_{theirs}_final"])
