"""LongLive-RAG over whole rollouts: frames of an archive without end, chosen by what the latest frame looks like."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .dit import Config, FrameKV, Weights, forward
from .slots import Chunk


@dataclass(frozen=True, kw_only=True)
class RetrievalKnobs:
    """All lengths in latent frames; the window counts sink, retrieved frames and current chunk."""

    window: int
    sink: int
    memory: int
    exclude: int
    on_switch: str


class Retrieval:
    """One video. `stores` holds each layer's latest entries of every frame, `archives` those that they left with."""

    def __init__(self, weights: Weights, config: Config, knobs: RetrievalKnobs, n: int) -> None:
        self.weights, self.config, self.knobs, self.n = weights, config, knobs, n
        self.local = knobs.window - knobs.sink - knobs.memory - n
        self.stores: list[dict[int, FrameKV]] = [{} for _ in range(config["num_layers"])]
        self.archives: list[dict[int, FrameKV]] = [{} for _ in range(config["num_layers"])]
        self.first = 0  # frame of the sink

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        self.current, self.prompt, knobs, start = current, prompts[1], self.knobs, current.start
        if current.switch is not None and knobs.on_switch != "keep":
            stays = knobs.on_switch == "recache" and start > knobs.window
            sink = list(range(self.first, self.first + knobs.sink)) if stays else []
            frames = list(range(start - min(knobs.window - len(sink), start), start))
            context = [[store[frame] for frame in sink] for store in self.stores]
            places = list(range(len(sink), len(sink) + len(frames)))
            _, own = self.look(past[frames], 0.0, places, context, list(range(len(sink))))
            for store, entries in zip(self.stores, own, strict=True):
                store.update(zip(frames, entries, strict=True))
            if not stays:
                self.first = frames[0]
        chosen = self.retrieved(past)
        end = min(start + self.n, knobs.window)
        self.places = list(range(end - self.n, end - self.n + current.frames))
        behind = self.first + knobs.sink
        slots = [(frame, frame - self.first) for frame in range(self.first, min(behind, start))]
        local = range(max(behind, start - self.local), start)
        slots += [(frame, end - self.n - (start - frame)) for frame in local]
        self.positions = [0] * len(chosen) + [place for _, place in slots]
        self.context = [
            [archive[frame] for frame in chosen] + [store[frame] for frame, _ in slots]
            for store, archive in zip(self.stores, self.archives, strict=True)
        ]

    def retrieved(self, past: Tensor) -> list[int]:
        """Frames that the chunk after `past` [start, C, H, W] retrieves, the likest first."""
        start, knobs = len(past), self.knobs
        candidates = list(range(knobs.sink, knobs.sink + max(0, start - knobs.window - knobs.exclude)))
        if not candidates:
            return []
        asked = described(past[-1])
        likeness = {frame: float(described(past[frame]) @ asked) for frame in candidates}
        return sorted(candidates, key=lambda frame: (-likeness[frame], frame))[: knobs.memory]

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        velocity, own = self.look(latents, timestep, self.places, self.context, self.positions)
        if clean:
            end = self.current.start + self.current.frames
            for store, archive, entries in zip(self.stores, self.archives, own, strict=True):
                store.update(zip(self.current.ids, entries, strict=True))
                for frame in range(self.knobs.sink, end - self.local):
                    archive.setdefault(frame, store[frame])
        return velocity

    def look(
        self,
        latents: Tensor,
        timestep: float,
        places: Sequence[int],
        context: Sequence[Sequence[FrameKV]],
        positions: Sequence[int],
    ) -> tuple[Tensor, list[list[FrameKV]]]:
        """One pass over latents [frames, C, H, W] at `places`."""
        return forward(self.weights, self.config, latents, timestep, self.prompt, places, context, positions)


def described(frame: Tensor) -> Tensor:
    """What a latent frame [C, H, W] looks like: its means, as a vector of about length 1."""
    means = torch.stack([channel.double().sum() / channel.numel() for channel in frame])
    return means / (means.norm() + 1e-8)
