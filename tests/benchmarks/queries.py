"""Echo-Infinity's queries: time of an update relative to a chunk, and whether they stay bounded over an hour of video.

`python -m tests.benchmarks.queries cost` times chunks in turns, with updates and without, at equal attended length;
`... hour [FRAMES]` rolls the pocket out and draws the gate and the norms into docs/echo_infinity/.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import registry
from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan, WanConfig
from harness.memory import Memory
from harness.memory.proxy import watched
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from reports.statistics.bootstrap import interval
from strategies.echo_infinity import EchoInfinity
from strategies.echo_infinity.encoder import QueryMemoryEncoder
from strategies.echo_infinity.memory import QueryMemory

CONFIG = WanConfig(
    dim=384, ffn_dim=2240, num_heads=3, num_layers=6, in_dim=16, out_dim=16, text_dim=64, text_len=512, freq_dim=256
)
LATENT_SIZE = (32, 32)
"""256 tokens a frame."""
WARM = 8
ROUNDS = 15
FOLDER = Path(__file__).parents[2] / "docs/echo_infinity"


def cost(rounds: int = ROUNDS) -> dict[str, Any]:
    """Median ratio of a chunk with an update to one without, and its interval."""
    torch.set_num_threads(2)
    backbone = Backbone(model=scramble(CausalWan(CONFIG)).requires_grad_(False), latent_size=LATENT_SIZE)
    runs = {
        update: rollout(
            backbone,
            EchoInfinity(update=update),  # type: ignore[arg-type]
            prompts=torch.randn(1, 512, CONFIG.text_dim, generator=torch.Generator().manual_seed(0)),
            latent_frames=3 * (WARM + rounds),
            latent_size=LATENT_SIZE,
            noise=PairedNoise([(0, "cost")]),
        )
        for update in ("first_pass", "never")
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(WARM + rounds):
        for name, chunks in runs.items():
            began = time.perf_counter()
            next(chunks)
            if number >= WARM:
                taken[name].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(taken["first_pass"], taken["never"], strict=True)]
    found = interval(np.array(ratios), np.arange(rounds))
    return {
        "chunk_seconds": statistics.median(taken["never"]),
        "ratio": statistics.median(ratios),
        "low": found.low,
        "high": found.high,
    }


def hour(frames: int = 14_400) -> dict[str, Any]:
    """Draw gate, norms and bytes over one long video of the pocket, and return their last values."""
    torch.set_num_threads(1)
    pocket = registry.backbone("pocket")
    seen: list[dict[str, float]] = []
    gates: list[float] = []
    opened: list[QueryMemory] = []

    def watch(memory: Memory) -> Memory:
        assert isinstance(memory, QueryMemory)
        opened.append(memory)
        update = memory.update

        def noted() -> None:
            update()
            seen.append(
                {
                    "queries": float(memory.queries[0].norm(dim=-1).mean()),
                    "keys": float(memory.memories[0].tensors[0].flatten(3).norm(dim=-1).mean()),
                    "values": float(memory.memories[0].tensors[1].flatten(3).norm(dim=-1).mean()),
                    "gate": gates[-1],
                }
            )

        memory.update = noted  # type: ignore[method-assign]
        return memory

    whole = QueryMemoryEncoder.gate

    def gate(self: QueryMemoryEncoder, queries: torch.Tensor, proposal: torch.Tensor) -> torch.Tensor:
        share = whole(self, queries, proposal)
        gates.append(float(share.mean()))
        return share

    QueryMemoryEncoder.gate = gate  # type: ignore[method-assign]
    strategy, text = EchoInfinity(), pocket.prompts[0]
    sizes = []
    assert pocket.text is not None
    for chunk in rollout(
        pocket,
        watched(strategy, watch),
        prompts=pocket.text([text]),
        latent_frames=frames,
        latent_size=pocket.latent_size,
        noise=PairedNoise([(0, text)]),
    ):
        assert chunk.latents.isfinite().all()
        sizes.append(opened[0].nbytes())
    QueryMemoryEncoder.gate = whole  # type: ignore[method-assign]
    _draw(seen, FOLDER / "hour.png")
    settled = sizes[len(sizes) // 100 + 10 :]
    return {
        "updates": len(seen),
        "bytes": [min(settled), max(settled)],
        **{
            name: {
                "first": round(seen[0][name], 4),
                "minute": round(seen[76][name], 4) if len(seen) > 76 else None,
                "last": round(seen[-1][name], 4),
                "least": round(min(each[name] for each in seen), 4),
                "most": round(max(each[name] for each in seen), 4),
            }
            for name in seen[0]
        },
    }


def _draw(seen: list[dict[str, float]], path: Path) -> None:
    from reports.plots.panels import dress, panels_of
    from reports.plots.strips import save

    figure, axes = panels_of(2)
    minutes = [(12 + 3 * number) / 4 / 60 for number in range(len(seen))]
    for name in ("queries", "keys", "values"):
        axes[0].plot(minutes, [each[name] for each in seen], label=name, linewidth=1)
    axes[0].legend(frameon=False)
    axes[1].plot(minutes, [each["gate"] for each in seen], linewidth=1)
    dress(axes[0], "norms", "minutes of video", "mean over tokens")
    dress(axes[1], "gate", "minutes of video", "share that stays")
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(0, 1)
    save(figure, path)


if __name__ == "__main__":
    asked, *more = sys.argv[1:] or ["cost"]
    print(json.dumps(cost() if asked == "cost" else hour(*map(int, more)), indent=1))
