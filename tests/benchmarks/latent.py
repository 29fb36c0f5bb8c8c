"""Time of latent attention, explicit and absorbed, relative to dense attention: one layer, at several sizes, paired.

`python -m tests.benchmarks.latent [--wan]` prints a line a size: times of a pass of one layer over a chunk and its
context as a ratio to the dense layer's, and which evaluation "auto" chooses. --wan adds the published size, minutes on
a CPU.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from harness.backbone.block import SelfAttention
from harness.backbone.config import WanConfig
from harness.backbone.layout import LaidOut, room
from harness.backbone.rope import Rope
from strategies.videomla.attention import LatentAttention, Sizes

POCKET = WanConfig(dim=128, ffn_dim=4, num_heads=4, num_layers=1)
MIDDLE = WanConfig(dim=512, ffn_dim=4, num_heads=8, num_layers=1)
WAN = WanConfig(ffn_dim=4, num_layers=1)
CASES = [
    (POCKET, (3, 3), 7, 1), (POCKET, (3, 3), 36, 1), (POCKET, (3, 3), 7, 32), (POCKET, (3, 3), 36, 32),
    (MIDDLE, (10, 16), 7, 1), (MIDDLE, (10, 16), 21, 1),
]  # fmt: skip
LARGE = [(WAN, (30, 52), 7, 1)]
CHUNK = 3
REPEATS = 15


@torch.no_grad()
def compared(config: WanConfig, grid: tuple[int, int], window: int, batch: int, repeats: int) -> dict[str, float | str]:
    """Medians over passes taken in turns."""
    sizes = Sizes.of(config, None, None, None)
    explicit, absorbed = (LatentAttention(config, sizes, kind) for kind in ("explicit", "absorbed"))  # type: ignore[arg-type]
    for weight in explicit.parameters():
        weight.normal_(std=0.02)
    absorbed.load_state_dict(explicit.state_dict())
    layers = {"dense": SelfAttention(config), "explicit": explicit, "absorbed": absorbed}
    tokens = grid[0] * grid[1]
    x = torch.randn(batch, CHUNK * tokens, config.dim)
    passes = {name: _pass(layer, x, grid, window) for name, layer in layers.items()}
    taken: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(repeats + 1):
        for name, run in passes.items():
            began = time.perf_counter()
            run()
            if number:
                taken[name].append(time.perf_counter() - began)
    middle = {name: statistics.median(times) for name, times in taken.items()}
    chosen = "absorbed" if explicit_or_absorbed(config, sizes, CHUNK * tokens, window * tokens) else "explicit"
    return {
        "dense ms": round(1000 * middle["dense"], 2),
        "explicit": round(middle["explicit"] / middle["dense"], 3),
        "absorbed": round(middle["absorbed"] / middle["dense"], 3),
        "auto": chosen,
        "faster": min(("explicit", "absorbed"), key=middle.__getitem__),
    }


def explicit_or_absorbed(config: WanConfig, sizes: Sizes, queries: int, keys: int) -> bool:
    with torch.device("meta"):
        return LatentAttention(config, sizes).absorbs(queries, keys)


def _pass(
    layer: SelfAttention | LatentAttention, x: torch.Tensor, grid: tuple[int, int], window: int
) -> Callable[[], object]:
    """A pass over a chunk behind a laid-out context that fills the window."""
    rope = Rope(layer.radians, grid)
    buffers = room(layer.layout, x.shape[0], window * grid[0] * grid[1], x.dtype, x.device)
    for buffer in buffers:
        buffer.normal_()
    context = LaidOut(buffers, rope.frames(range(window - CHUNK, window)), room=True)
    return lambda: layer(layer.query(x), layer.key_value(x), context)


def main() -> None:
    large = "--wan" in sys.argv
    for config, grid, window, batch in [*CASES, *(LARGE if large else [])]:
        found = compared(config, grid, window, batch, 3 if config is WAN else REPEATS)
        print(
            f"dim {config.dim}, {grid[0] * grid[1]} tokens a frame, window {window}, batch {batch}: {found}", flush=True
        )


if __name__ == "__main__":
    main()
