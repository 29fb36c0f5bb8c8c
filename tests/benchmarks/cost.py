"""Time of a chunk, relative to the bare sum of its matrix products and attention calls.

Run with `nox -s speed`, or `python -m tests.benchmarks.cost`. Each round times one chunk of the bare loop and one of
every rollout, in turns, in one process; the ratio is the median over rounds with its 95 % bootstrap interval. The bare
loop attends to the same number of tokens and runs all five passes in full, as the released codes do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan, WanConfig
from harness.memory import At, Context, GroupedContext, Memory
from harness.memory.proxy import Watched, watched
from harness.registry import strategy
from harness.rollout import Chunk, rollout
from harness.rollout.noise import PairedNoise
from strategies.forcing_kv.classes import content

CONFIG = WanConfig(dim=384, ffn_dim=2240, num_heads=3, num_layers=6, text_dim=64)
LATENT_SIZE = (32, 32)
FRAME_TOKENS = 256
CHUNK = 3
PASSES = 5
Lengths = tuple[tuple[tuple[int, int], ...], ...]
"""Heads and the latent frames that they attend to, of each group in each layer."""
CLASSES = Path(tempfile.gettempdir()) / "horizon-cost-classes.json"
"""Every second head static, written by `main`."""
WARM_UP = 6  # chunks until the window is full, compiled, and has slid
WARM_UPS = {"longlive_rag": 12, "memflow": 12, "rolling_sink": 9}  # of memories that fill later


@dataclass(frozen=True)
class Case:
    """A strategy, how it runs, and the bar that the ratio must reach (None: reported only).

    windows: latent frames that chunks attend to in turn, from chunk `warm_up` on; none where they differ by head, and
    are those of the video that is timed.
    """

    strategy: str
    knobs: dict[str, Any] = field(hash=False)
    windows: tuple[int, ...]
    compile: bool
    dtype: torch.dtype
    bar: float | None

    @property
    def warm_up(self) -> int:
        """Chunks that are not timed; a memory whose size repeats has to be seen at each of its sizes."""
        return WARM_UPS.get(self.strategy, WARM_UP) + (3 if len(self.windows) > 1 else 0)

    def __str__(self) -> str:
        knobs = ", ".join(f"{knob}={value}" for knob, value in self.knobs.items())
        dtype, mode = str(self.dtype).removeprefix("torch."), "compiled" if self.compile else "eager"
        return f"{self.strategy}({knobs}) | {dtype} | {mode}"


MEMORIES: list[tuple[str, dict[str, Any], int | tuple[int, ...]]] = [
    ("sliding_window", {"window": 12}, 12),
    ("attention_sink", {"window": 12, "sink": 3}, 12),
    ("attention_sink", {"window": 12, "sink": 3, "positions": "absolute"}, 12),
    ("infinity_rope", {"window": 6}, 6),
    ("memrope", {"window": 12}, 12),
    ("rolling_sink", {}, 21),
    ("ema_sink", {}, 9),
    # In turn a chunk that compresses, and one that is appended.
    ("deep_forcing", {}, (16, 19)),
    ("longlive_rag", {}, 12),
    ("memflow", {}, 15),
    ("dummy_forcing", {}, ()),
    ("forcing_kv", {"classes": str(CLASSES)}, ()),
]
EAGER_BARS = {
    "rolling_sink": 1.15, "ema_sink": 1.15, "deep_forcing": 1.30, "longlive_rag": 1.30, "memflow": 1.30,
    "dummy_forcing": 1.15, "forcing_kv": 1.15,
}  # fmt: skip
"""Bars of strategies that have one of their own, in float32 and eager; in other modes they are reported only."""
MODES = [
    (torch.float32, False, 1.40),
    (torch.float32, True, 1.20),
    (torch.bfloat16, False, None),
    (torch.bfloat16, True, 1.55),
]


class BareLoop:
    """The matrix products and attention calls of a chunk, and nothing between them."""

    def __init__(self, model: CausalWan, lengths: Lengths) -> None:
        dtype, dim, heads = model.dtype, CONFIG.dim, (CONFIG.num_heads, CONFIG.head_dim)
        tokens = CHUNK * FRAME_TOKENS
        self.model, self.heads = model, heads
        self.x = torch.randn(1, tokens, dim, dtype=dtype)
        self.patches = torch.randn(1, tokens, 64, dtype=dtype)
        self.wide = torch.randn(1, tokens, CONFIG.ffn_dim, dtype=dtype)
        self.q = torch.randn(1, tokens, *heads, dtype=dtype).transpose(1, 2)
        self.calls = [
            [
                tuple(torch.randn(1, few, n, heads[1], dtype=dtype) for n in (tokens, frames * FRAME_TOKENS))
                for few, frames in layer
            ]
            for layer in lengths
        ]
        self.text = torch.randn(1, CONFIG.text_len, *heads, dtype=dtype).transpose(1, 2)

    @torch.no_grad()
    def chunk(self) -> None:
        embedding = self.model.patch_embedding
        for _ in range(PASSES):
            F.linear(self.patches, embedding.weight.flatten(1), embedding.bias)
            for block, calls in zip(self.model.layers, self.calls, strict=True):
                own, cross = block.self_attn, block.cross_attn
                for linear in (own.q, own.k, own.v, own.o, cross.q, cross.o):
                    linear(self.x)
                for query, context in calls:
                    F.scaled_dot_product_attention(query, context, context)
                F.scaled_dot_product_attention(self.q, self.text, self.text)
                block.ffn[0](self.x)
                block.ffn[2](self.wide)
            self.model.head.head(self.x)


class Seen(Watched):
    """Memory that records in `lengths`, by layer, the number of frames to which each head attends."""

    def __init__(self, inner: Memory, lengths: dict[int, tuple[tuple[int, int], ...]]) -> None:
        super().__init__(inner)
        self.lengths = lengths

    def recall(self, layer: int, query: torch.Tensor | None, at: At) -> Context | GroupedContext:
        context = super().recall(layer, query, at)
        groups = [(CONFIG.num_heads, context.frames)] if isinstance(context, Context) else []
        if isinstance(context, GroupedContext):
            groups = [(len(group.heads), group.frames) for group in context.groups]
        self.lengths[layer] = tuple((heads, frames + at.frames) for heads, frames in groups)
        return context


def whole(window: int) -> Lengths:
    """Return lengths that are equal for all heads."""
    return (((CONFIG.num_heads, window),),) * CONFIG.num_layers


def stream(
    case: Case, backbone: Backbone, rounds: int, lengths: dict[int, tuple[tuple[int, int], ...]] | None = None
) -> Iterator[Chunk]:
    """Return a rollout of a case that generates one chunk a round after its warm-up. lengths: filled by `Seen`."""
    chosen = strategy(case.strategy, **case.knobs)
    return rollout(
        backbone,
        chosen if lengths is None else watched(chosen, partial(Seen, lengths=lengths)),
        prompts=torch.randn(1, 12, CONFIG.text_dim, dtype=case.dtype),
        latent_frames=CHUNK * (case.warm_up + rounds),
        latent_size=LATENT_SIZE,
        noise=PairedNoise([(0, "cost")]),
        compile=case.compile,
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interval(ratios: list[float], draws: int = 10_000) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the median."""
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(ratios, (draws, len(ratios))), 1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def measure(cases: list[Case], rounds: int) -> Iterator[tuple[Case, list[float], list[float]]]:
    """Measure cases of one mode in turns, round by round; return their ratios, and the seconds of their bare loops."""
    backbone = Backbone(model=scramble(CausalWan(CONFIG)).to(cases[0].dtype).requires_grad_(False))
    seen: list[dict[int, tuple[tuple[int, int], ...]]] = [{} for _ in cases]
    streams = [
        stream(case, backbone, rounds, None if case.windows else each) for case, each in zip(cases, seen, strict=True)
    ]
    for case, running in zip(cases, streams, strict=True):
        for _ in range(case.warm_up):
            next(running)

    def lengths(case: Case, by_layer: dict[int, tuple[tuple[int, int], ...]]) -> Iterator[Lengths]:
        if case.strategy == "full":  # its context grows by a chunk a round
            return map(whole, itertools.count(*case.windows, CHUNK))
        by_head = tuple(by_layer[layer] for layer in sorted(by_layer))
        return itertools.cycle(map(whole, case.windows) if case.windows else (by_head,))

    attended = [lengths(case, each) for case, each in zip(cases, seen, strict=True)]
    bare: dict[Lengths, BareLoop] = {}
    ratios: list[list[float]] = [[] for _ in cases]
    base: list[list[float]] = [[] for _ in cases]
    for _ in range(rounds):
        for number, running in enumerate(streams):
            attends = next(attended[number])
            if attends not in bare:
                bare[attends] = BareLoop(backbone.model, attends)
                bare[attends].chunk()
            plain = seconds(bare[attends].chunk)
            base[number].append(plain)
            ratios[number].append(seconds(partial(next, running)) / plain)
    yield from zip(cases, ratios, base, strict=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose line contains this, e.g. 'memrope' or 'compiled'")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    static = [list(range(0, CONFIG.num_heads, 2))] * CONFIG.num_layers
    CLASSES.write_text(
        json.dumps(content(static, CONFIG.num_heads, "custom", "", "every second head")), encoding="utf-8"
    )
    row = "{:<58} {:<9} {:<9} {:>7} {:>6}  {:<15} {:>5} {}".format
    print(row("case", "dtype", "mode", "bare s", "ratio", "95 %", "bar", ""), flush=True)
    for dtype, compile, bar in MODES:
        every = []
        for name, knobs, window in MEMORIES:
            own = (EAGER_BARS[name] if dtype == torch.float32 and not compile else None) if name in EAGER_BARS else bar
            every.append(Case(name, knobs, (window,) if isinstance(window, int) else window, compile, dtype, own))
        if not compile:
            every.append(Case("full", {}, (CHUNK * (WARM_UP + 1),), compile, dtype, None))
        cases = [case for case in every if arguments.only in str(case)]
        for case, ratios, base in measure(cases, arguments.rounds) if cases else ():
            low, high = interval(ratios)
            verdict = "" if case.bar is None else "met" if low <= case.bar else "MISSED"
            figures = f"{statistics.median(base):.3f}", f"{statistics.median(ratios):.3f}", f"{low:.3f} - {high:.3f}"
            print(
                row(*str(case).split(" | "), *figures, "" if case.bar is None else f"{case.bar:.2f}", verdict),
                flush=True,
            )


if __name__ == "__main__":
    main()
