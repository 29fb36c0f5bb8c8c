"""Chunk-by-chunk rollout with commit passes, prompt switches and initial latents (spec 2.2, 3.3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .dit import Config, FrameKV, Weights, forward, model_dtype, token_grid
from .memories import Chunk, FrameSlot, View, parse_knobs, replay_before, slot_kv, visible
from .sampler import predict_clean, renoise, sigma_at, warp_steps

SWITCH_KINDS = ("smooth", "hardcut", "recall")

Switch = tuple[int, Tensor, str]
"""Latent frame, embeddings [B, L, text_dim], kind."""

Store = list[dict[FrameSlot, FrameKV]]
"""Per layer, everything one video ever committed."""


class Noise(Protocol):
    """Source of all randomness; chunk_index counts generated chunks from 0, shape is (B, frames, C, H, W)."""

    def initial(self, chunk_index: int, shape: tuple[int, ...]) -> Tensor:
        """Noise that a chunk starts from."""

    def renoise(self, chunk_index: int, step_index: int, shape: tuple[int, ...]) -> Tensor:
        """Noise added to the clean prediction of step step_index."""


def chunk_lengths(latent_frames: int, n: int, independent_first_frame: bool) -> list[int]:
    """Frames of every chunk of the video, initial ones included (spec 2.2)."""
    lengths = [1] if independent_first_frame else []
    while sum(lengths) < latent_frames:
        lengths.append(n)
    if sum(lengths) != latent_frames:
        raise ValueError(f"{latent_frames} latent frames do not divide into chunks of {n}")
    return lengths


def due_switch(switches: Sequence[Switch], previous_start: int | None, start: int) -> Switch | None:
    """The switch that takes effect at the chunk at `start`: the latest asked for since the previous chunk."""
    due: Switch | None = None
    for switch in sorted(switches, key=lambda item: item[0]):
        if switch[0] <= start and (previous_start is None or switch[0] > previous_start):
            due = switch
    return due


def run_pass(
    weights: Weights,
    config: Config,
    latents: Tensor,
    timestep: float,
    prompt: Tensor,
    view: View,
    store: Store,
) -> tuple[Tensor, list[list[FrameKV]]]:
    """One network pass over latents [frames, C, H, W] of one video, seeing the slots of the view."""
    rows, columns = token_grid(config, latents.shape[2], latents.shape[3])
    head_dim = config["dim"] // config["num_heads"]
    blank = torch.zeros(rows * columns, config["num_heads"], head_dim, dtype=latents.dtype)
    context = [[slot_kv(slot, layer_store, blank) for slot in view.slots] for layer_store in store]
    return forward(weights, config, latents, timestep, prompt, view.current_positions, context, view.positions)


def commit(
    weights: Weights,
    config: Config,
    latents: Tensor,
    prompt: Tensor,
    view: View,
    store: Store,
    frames: Sequence[int],
    generation: int,
) -> None:
    """Write the keys and values of clean latents [frames, C, H, W] into the store: one pass at timestep 0."""
    _, chunk_kv = run_pass(weights, config, latents, 0.0, prompt, view, store)
    for layer_store, frame_kvs in zip(store, chunk_kv, strict=True):
        for frame, frame_kv in zip(frames, frame_kvs, strict=True):
            layer_store[FrameSlot(frame, generation)] = frame_kv


@torch.no_grad()
def rollout(
    weights: Weights,
    config: Config,
    *,
    strategy: str,
    knobs: Mapping[str, Any],
    prompts: Tensor,
    latent_frames: int,
    latent_size: tuple[int, int],
    noise: Noise,
    switches: Sequence[Switch] = (),
    initial: Tensor | None = None,
    chunk: int = 3,
    steps: tuple[int, ...] = (1000, 750, 500, 250),
    shift: float = 5.0,
    independent_first_frame: bool = False,
) -> Tensor:
    """Generate clean latents [B, latent_frames, C, H, W]; latent_size is (H, W).

    prompts [B, L, text_dim] hold until a switch (latent frame, embeddings, kind) takes effect, at the first
    chunk that starts at or after its frame. initial [B, F0, C, H, W] are the clean first frames of the video.
    """
    dtype = model_dtype(weights)
    batch = prompts.shape[0]
    parsed = parse_knobs(strategy, knobs, chunk)
    if any(kind not in SWITCH_KINDS for _, _, kind in switches):
        raise ValueError(f"switch kinds are {SWITCH_KINDS}")
    timesteps = warp_steps(steps, shift)
    sigmas = [sigma_at(timestep, shift) for timestep in timesteps]

    video = torch.full((batch, latent_frames, config["in_dim"], *latent_size), torch.nan, dtype=dtype)
    given = 0 if initial is None else initial.shape[1]
    if initial is not None:
        video[:, :given] = initial
    stores: list[Store] = [[{} for _ in range(config["num_layers"])] for _ in range(batch)]
    history: list[Chunk] = []
    generated = 0
    start = 0
    for frames in chunk_lengths(latent_frames, chunk, independent_first_frame):
        end = start + frames
        if start < given < end:
            raise ValueError(f"the {given} initial frames end inside a chunk")
        switch = due_switch(switches, history[-1].start if history else None, start)
        current = Chunk(start, frames, None if switch is None else switch[2])
        if switch is not None:
            prompts = switch[1]
        replay = replay_before(parsed, chunk, history, current)
        view = visible(parsed, chunk, history, current)

        if replay is not None:
            replayed, generation = replay.frames, replay.generation
            for row in range(batch):
                clean = video[row, replayed]
                commit(weights, config, clean, prompts[row], replay.view, stores[row], replayed, generation)

        if start >= given:
            shape = (batch, frames, config["in_dim"], *latent_size)
            noisy = noise.initial(generated, shape).to(dtype)
            clean = torch.empty(shape, dtype=dtype)
            for step, (timestep, sigma) in enumerate(zip(timesteps, sigmas, strict=True)):
                for row in range(batch):
                    prompt, store = prompts[row], stores[row]
                    velocity, _ = run_pass(weights, config, noisy[row], timestep, prompt, view, store)
                    clean[row] = predict_clean(noisy[row], velocity, sigma)
                if step + 1 < len(timesteps):
                    fresh = noise.renoise(generated, step, shape).to(dtype)
                    noisy = renoise(clean, fresh, sigmas[step + 1])
            video[:, start:end] = clean
            generated += 1

        for row in range(batch):
            clean = video[row, start:end]
            commit(weights, config, clean, prompts[row], view, stores[row], current.ids, 0)
        history.append(current)
        start = end
    return video
