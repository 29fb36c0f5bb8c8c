"""Windows of whole frames in dense attention: everything committed is kept, and a rule says what a chunk may see."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .dit import Config, FrameKV, Weights, forward, token_grid
from .knobs import Knobs
from .memories import replay_before, visible
from .slots import Chunk, FrameSlot, View, slot_kv

Store = list[dict[FrameSlot, FrameKV]]
"""Per layer, everything one video ever committed."""


class Windowed:
    """A memory that is a pure function of the chunks before, over dense attention: see `memories.visible`."""

    def __init__(self, weights: Weights, config: Config, knobs: Knobs, n: int) -> None:
        self.weights, self.config, self.knobs, self.n = weights, config, knobs, n
        self.store: Store = [{} for _ in range(config["num_layers"])]
        self.history: list[Chunk] = []

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        self.current, self.prompt = current, prompts[1]
        replay = replay_before(self.knobs, self.n, self.history, current)
        self.view = visible(self.knobs, self.n, self.history, current)
        if replay is not None:
            self.commit(past[replay.frames], replay.view, replay.frames, replay.generation)

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        if clean:
            self.commit(latents, self.view, self.current.ids, 0)
            self.history.append(self.current)
            return torch.zeros_like(latents)
        return self.look(latents, timestep, self.view)[0]

    def commit(self, latents: Tensor, view: View, frames: Sequence[int], generation: int) -> None:
        """Write the keys and values of clean latents [frames, C, H, W] into the store: one pass at timestep 0."""
        _, chunk_kv = self.look(latents, 0.0, view)
        for layer_store, frame_kvs in zip(self.store, chunk_kv, strict=True):
            for frame, frame_kv in zip(frames, frame_kvs, strict=True):
                layer_store[FrameSlot(frame, generation)] = frame_kv

    def look(self, latents: Tensor, timestep: float, view: View) -> tuple[Tensor, list[list[FrameKV]]]:
        """One network pass over latents [frames, C, H, W], seeing the slots of the view."""
        rows, columns = token_grid(self.config, latents.shape[2], latents.shape[3])
        head_dim = self.config["dim"] // self.config["num_heads"]
        blank = torch.zeros(rows * columns, self.config["num_heads"], head_dim, dtype=latents.dtype)
        context = [[slot_kv(slot, layer_store, blank) for slot in view.slots] for layer_store in self.store]
        seen = (view.current_positions, context, view.positions)
        return forward(self.weights, self.config, latents, timestep, self.prompt, *seen)
