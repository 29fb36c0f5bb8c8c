"""Effects of packed frames: difference of the video, bytes a token, and the share of a chunk that laying out takes.

`python -m tests.benchmarks.precision [--wan]` prints a Markdown row for each policy and store. x0: the largest
difference of clean latents from those of the exact policy, after the first chunk that sees packed frames and over 24
latent frames of the small random model of tests/goldens/windows. Bytes: of a token in one layer, measured from the
tensors of a committed chunk, on the pocket (float32, 16 tokens a frame) and at Wan size (bfloat16, 1560). Laying out:
its share of a chunk's processor time on the pocket, and with exact frames. --wan adds the self-attention of one layer
at Wan size, minutes on a CPU. Processor time hardly depends on what else the machine does; use one thread.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args
from unittest import mock

import torch

from harness import registry
from harness.backbone.block import SelfAttention
from harness.backbone.config import WanConfig
from harness.backbone.layout import DenseLayout, LaidOut, fill, room
from harness.backbone.rope import Rope
from harness.memory import At, Entries, MemorySpec, Strategy
from harness.memory.packed import PackedEntries, Store
from harness.memory.seam import storage_bytes
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from harness.rollout.passes import Passes
from strategies.quantized import Quantized
from tests import goldens

POLICIES = ("sliding_window", "attention_sink", "infinity_rope", "memrope", "rolling_sink", "ema_sink")
STORES: tuple[Store, ...] = get_args(Store)
FRAMES = 24
PROMPT = "a small red disc"
CHUNKS, SETTLED = 24, 12
"""Chunks of a timed rollout, and those before the memory is full."""
CHUNK, TOKENS, CONTEXT = 3, 1560, 9
POCKET = MemorySpec(1, DenseLayout(4, 32), 9, CHUNK)
WAN = MemorySpec(1, DenseLayout(12, 128), TOKENS, CHUNK, dtype=torch.bfloat16)


def video(strategy: Strategy) -> list[torch.Tensor]:
    """Clean latents of the golden model, a tensor a chunk."""
    chunks = rollout(
        goldens.model(),
        strategy,
        prompts=goldens.prompts()[0],
        latent_frames=FRAMES,
        latent_size=(6, 8),
        noise=goldens.noise(),
    )
    return [chunk.latents for chunk in chunks]


def differences(policy: str, store: Store) -> tuple[float, float]:
    """Return the largest difference in the second chunk, and in all chunks."""
    pairs = zip(video(registry.strategy(policy)), video(Quantized(policy=policy, store=store)), strict=True)
    off = [float((ours - theirs).abs().max()) for ours, theirs in pairs]
    return off[1], max(off)


def token_bytes(spec: MemorySpec, store: Store | None) -> float:
    """Bytes of a token in one layer, from the tensors of a chunk that was committed."""
    strategy = registry.strategy("full")
    memory = (strategy if store is None else Quantized(policy="full", store=store)).open(spec)
    chunk = [torch.randn(1, spec.chunk, spec.frame_tokens, *shape, dtype=spec.dtype) for shape in spec.layout.shapes]
    memory.remember(0, Entries(*chunk), None, At(0, spec.chunk, 4, commit=True))
    return storage_bytes(memory.stored()) / (spec.chunk * spec.frame_tokens)


@contextmanager
def laying_out() -> Iterator[list[float]]:
    """A list of the seconds that each laying out takes."""
    taken: list[float] = []
    original = Passes._lay_out

    def timed(self: Passes, *args: Any, **options: Any) -> LaidOut:
        began = time.process_time()
        made = original(self, *args, **options)
        taken.append(time.process_time() - began)
        return made

    with mock.patch.object(Passes, "_lay_out", timed):
        yield taken


def share(strategy: Strategy) -> float:
    """The share of a chunk's time that laying out takes on the pocket, the median over chunks."""
    backbone = registry.backbone("pocket")
    shares = []
    with laying_out() as taken:
        began = time.process_time()
        for chunk in rollout(
            backbone,
            strategy,
            prompts=backbone.text([PROMPT]),
            latent_frames=CHUNKS * backbone.chunk,
            latent_size=backbone.latent_size,
            noise=PairedNoise([(0, PROMPT)]),
        ):
            if chunk.index >= SETTLED:
                shares.append(sum(taken) / (time.process_time() - began))
            taken.clear()
            began = time.process_time()
    return statistics.median(shares)


@torch.no_grad()
def wan_layer(store: Store | None, passes: int = 5) -> tuple[float, float]:
    """Seconds of laying nine frames out and of the passes of a chunk, for self-attention of one layer at Wan size."""
    config = WanConfig(num_layers=1)
    layer = SelfAttention(config).bfloat16()
    spec = MemorySpec(1, layer.layout, TOKENS, CHUNK, dtype=torch.bfloat16, store=store)
    shapes = [(1, 1, TOKENS, *shape) for shape in layer.layout.shapes]
    frames = [spec.packed(Entries(*(torch.randn(shape).bfloat16() for shape in shapes))) for _ in range(CONTEXT)]
    slots = [frame if isinstance(frame, PackedEntries) else frame.tensors for frame in frames]
    buffers = room(layer.layout, 1, (CONTEXT + CHUNK) * TOKENS, spec.dtype, spec.device)
    rope = Rope(layer.radians, (30, 52))
    rotation, own = rope.frames(range(CONTEXT)), rope.frames(range(CONTEXT, CONTEXT + CHUNK))
    times = []
    for _ in range(4):
        began = time.process_time()
        fill(layer.layout, buffers, slots, rotation, None)
        times.append(time.process_time() - began)
    x = torch.randn(1, CHUNK * TOKENS, config.dim).bfloat16()
    began = time.process_time()
    layer(layer.query(x), layer.key_value(x), LaidOut(buffers, own, room=True))
    return min(times), passes * (time.process_time() - began)


def main() -> None:
    print("| layout | exact | " + " | ".join(STORES) + " |\n|---|---|" + "---|" * len(STORES))
    for name, spec in (("pocket, float32", POCKET), ("Wan, bfloat16", WAN)):
        print(f"| {name} | " + " | ".join(f"{token_bytes(spec, store):.1f}" for store in (None, *STORES)) + " |")
    print(
        "\n| policy | store | x0, second chunk | x0, 24 frames | laying out | exact frames |\n|---|---|---|---|---|---|"
    )
    for policy in POLICIES:
        exact = share(registry.strategy(policy))
        for store in STORES:
            second, most = differences(policy, store)
            packed = share(Quantized(policy=policy, store=store))
            print(f"| {policy} | {store} | {second:.4f} | {most:.3f} | {packed:.2%} | {exact:.2%} |", flush=True)
    if "--wan" in sys.argv:
        for kind in (None, *STORES):
            out, whole = wan_layer(kind)
            print(f"Wan, one layer, {kind or 'exact'}: {out:.3f} s laying out, {whole:.1f} s of attention in a chunk")


if __name__ == "__main__":
    main()
