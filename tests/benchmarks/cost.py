"""What a chunk costs, against the bare sum of its matrix products and attention calls.

Run with `nox -s speed`, or `python -m tests.benchmarks.cost`. Each round times one chunk of the bare loop and one of
every rollout, in turns, in one process; the ratio is the median over rounds with its 95 % bootstrap interval. The bare
loop attends to the same number of tokens and runs all five passes in full, as the released codes do.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan, WanConfig
from harness.registry import strategy
from harness.rollout import Chunk, rollout
from harness.rollout.noise import PairedNoise

CONFIG = WanConfig(dim=384, ffn_dim=2240, num_heads=3, num_layers=6, text_dim=64)
LATENT_SIZE = (32, 32)
FRAME_TOKENS = 256
CHUNK = 3
PASSES = 5
ENDLESS = 3_000_000
WARM_UP = 6  # chunks until the window is full, compiled, and has slid
WARM_UPS = {"longlive_rag": 12, "memflow": 12}  # of memories that fill later


@dataclass(frozen=True)
class Case:
    """A strategy, how it runs, and the bar that the ratio must reach (None: reported only).

    windows: latent frames that chunks attend to in turn, from chunk `warm_up` on.
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
    # In turn a chunk that compresses, and one that is appended.
    ("deep_forcing", {}, (16, 19)),
    ("longlive_rag", {}, 12),
    ("memflow", {}, 15),
]
MODES = [
    (torch.float32, False, 1.40),
    (torch.float32, True, 1.20),
    (torch.bfloat16, False, None),
    (torch.bfloat16, True, 1.55),
]


class BareLoop:
    """The matrix products and attention calls of a chunk, and nothing between them."""

    def __init__(self, model: CausalWan, window: int) -> None:
        dtype, dim, heads = model.dtype, CONFIG.dim, (CONFIG.num_heads, CONFIG.head_dim)
        tokens = CHUNK * FRAME_TOKENS
        self.model, self.heads = model, heads
        self.x = torch.randn(1, tokens, dim, dtype=dtype)
        self.patches = torch.randn(1, tokens, 64, dtype=dtype)
        self.wide = torch.randn(1, tokens, CONFIG.ffn_dim, dtype=dtype)
        self.q = torch.randn(1, tokens, *heads, dtype=dtype).transpose(1, 2)
        self.context = torch.randn(1, window * FRAME_TOKENS, *heads, dtype=dtype).transpose(1, 2)
        self.text = torch.randn(1, CONFIG.text_len, *heads, dtype=dtype).transpose(1, 2)

    @torch.no_grad()
    def chunk(self) -> None:
        embedding = self.model.patch_embedding
        for _ in range(PASSES):
            F.linear(self.patches, embedding.weight.flatten(1), embedding.bias)
            for block in self.model.layers:
                own, cross = block.self_attn, block.cross_attn
                for linear in (own.q, own.k, own.v, own.o, cross.q, cross.o):
                    linear(self.x)
                F.scaled_dot_product_attention(self.q, self.context, self.context)
                F.scaled_dot_product_attention(self.q, self.text, self.text)
                block.ffn[0](self.x)
                block.ffn[2](self.wide)
            self.model.head.head(self.x)


def stream(case: Case, backbone: Backbone) -> Iterator[Chunk]:
    """A rollout of a case that does not end before the rounds do."""
    return rollout(
        backbone,
        strategy(case.strategy, **case.knobs),
        prompts=torch.randn(1, 12, CONFIG.text_dim, dtype=case.dtype),
        latent_frames=CHUNK * 40 if case.strategy == "full" else ENDLESS,
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
    """Cases of one mode with their ratios, and the seconds of their bare loops; all in turns, round by round."""
    backbone = Backbone(model=scramble(CausalWan(CONFIG)).to(cases[0].dtype).requires_grad_(False))
    bare = {
        window: BareLoop(backbone.model, window) for window in {window for case in cases for window in case.windows}
    }
    # The context of `full` grows by a chunk a round.
    attended = {
        case: itertools.count(*case.windows, CHUNK) if case.strategy == "full" else itertools.cycle(case.windows)
        for case in cases
    }
    streams = [stream(case, backbone) for case in cases]
    for case, running in zip(cases, streams, strict=True):
        for _ in range(case.warm_up):
            next(running)
    for loop in bare.values():
        loop.chunk()
    ratios: list[list[float]] = [[] for _ in cases]
    base: list[list[float]] = [[] for _ in cases]
    for _ in range(rounds):
        for number, (case, running) in enumerate(zip(cases, streams, strict=True)):
            window = next(attended[case])
            if window not in bare:
                bare[window] = BareLoop(backbone.model, window)
            plain = seconds(bare[window].chunk)
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
    row = "{:<58} {:<9} {:<9} {:>7} {:>6}  {:<15} {:>5} {}".format
    print(row("case", "dtype", "mode", "bare s", "ratio", "95 %", "bar", ""), flush=True)
    for dtype, compile, bar in MODES:
        every = [
            Case(name, knobs, (window,), compile, dtype, bar)
            if isinstance(window, int)
            else Case(name, knobs, window, compile, dtype, None)
            for name, knobs, window in MEMORIES
        ]
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
