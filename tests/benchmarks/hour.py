"""An hour of video, 14,400 latent frames, of every bounded strategy on the pocket: bytes, time a chunk, and no NaN.

`python -m tests.benchmarks.hour [--strategy NAME ...]`. One rollout each from a true first chunk, all in turns, chunk
by chunk, so that a change of the machine's speed meets all of them alike. Compared are the chunks of minutes 2 to 6
with the last four minutes'.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import torch

from harness.backbone.presets import Backbone
from harness.memory import Memory, Strategy
from harness.memory.proxy import watched
from harness.pocket.preset import pocket
from harness.pocket.world import film, script
from harness.registry import found, strategy
from harness.rollout import Chunk, rollout
from harness.rollout.noise import PairedNoise

FRAMES = 14_400
MINUTE = 80  # chunks
PROMPT = "a thing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--strategy", nargs="*", default=[name for name in found("strategies") if strategy(name).bounded]
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    backbone = pocket()
    assert backbone.text is not None
    assert backbone.codec is not None
    first = backbone.codec.encode(film([script(PROMPT)], [7], 3).pixels)
    memories: dict[str, Memory] = {}
    streams: dict[str, Iterator[Chunk]] = {}
    for name in arguments.strategy:

        def caught(memory: Memory, name: str = name) -> Memory:
            memories[name] = memory
            return memory

        streams[name] = rollout(
            backbone,
            watched(strategy(name), caught),
            prompts=backbone.text([PROMPT]),
            latent_frames=arguments.frames,
            latent_size=backbone.latent_size,
            noise=PairedNoise([(7, PROMPT)]),
            initial=first,
        )
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    held: dict[str, list[int]] = {name: [] for name in streams}
    finite = dict.fromkeys(streams, True)
    with torch.inference_mode():
        for _ in range(arguments.frames // backbone.chunk - 1):
            for name, running in streams.items():
                began = time.perf_counter()
                chunk = next(running)
                seconds[name].append(time.perf_counter() - began)
                held[name].append(memories[name].nbytes())
                finite[name] &= bool(chunk.latents.isfinite().all())
    for name, spent in seconds.items():
        early, late = (statistics.median(part) for part in (spent[2 * MINUTE : 6 * MINUTE], spent[-4 * MINUTE :]))
        kept, archived = held[name][2 * MINUTE :], _archived(memories[name], strategy(name), backbone, arguments.frames)
        print(
            f"{name}: {'finite' if finite[name] else 'NOT FINITE'}; {kept[0]:,} to {kept[-1]:,} bytes, at most "
            f"{max(kept):,};{archived} a chunk {1000 * early:.1f} ms early, {1000 * late:.1f} late, {late / early:.3f}"
        )


def _archived(memory: Memory, chosen: Strategy, backbone: Backbone, frames: int) -> str:
    """Return the bytes in the archive after the last commit, and whether they were planned; nothing without archive."""
    size = memory.archive_nbytes()
    # The last chunk is not committed.
    planned = chosen.archive_bytes(chosen.adapt(backbone).memory_spec(), frames - backbone.chunk)
    return f" {size:,} bytes archived ({'as' if size == planned else 'NOT AS'} planned);" if size or planned else ""


if __name__ == "__main__":
    main()
