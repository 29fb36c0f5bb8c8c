"""Chunk-by-chunk rollout with commit passes, prompt switches and initial latents (spec 2.2, 3.3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .banks import BankKnobs, Banks
from .deep_forcing import Deep, DeepKnobs
from .dit import Config, Weights, model_dtype
from .heads import Dummies, DummyKnobs, KindKnobs, Kinds
from .knobs import parse_knobs
from .latents import Latents
from .matching import Encode, Script
from .packed import Packed
from .queries import Queries, QueryKnobs
from .retrieval import Retrieval, RetrievalKnobs
from .sampler import predict_clean, renoise, sigma_at, warp_steps
from .scenes import SceneKnobs, Scenes
from .slots import Chunk
from .windowed import Windowed

LATENT_SIZES = ("latent", "query_latent", "rope", "latent_norm")
"""Knobs of videomla that the shapes of its weights tell already."""
SWITCH_KINDS = ("smooth", "hardcut", "recall")

Switch = tuple[int, Tensor, str] | tuple[int, Tensor, str, list[str]]
"""Latent frame, embeddings [B, L, text_dim], kind, and maybe the prompts as text."""


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


class Memory(Protocol):
    """The memory of one video: its passes, and what they leave behind."""

    def enter(self, current: Chunk, past: Tensor, prompts: tuple[Tensor, Tensor]) -> None:
        """A chunk begins, and before it the switch that it names.

        past: clean latents [start, C, H, W] of all frames before. prompts: of the chunk before, and of this one.
        """

    def run(self, latents: Tensor, timestep: float, number: int, *, clean: bool) -> Tensor:
        """Pass `number` over latents [frames, C, H, W] of the chunk -> velocity; the clean one is committed."""


def opened(
    weights: Weights, config: Config, strategy: str, knobs: Mapping[str, Any], n: int, script: Script | None
) -> Memory:
    """The memory of a new video. Knobs of videomla are its policy's, and `policy` its name."""
    if strategy == "longlive_rag":
        return Retrieval(weights, config, RetrievalKnobs(**knobs), n)
    if strategy == "memflow":
        return Banks(weights, config, BankKnobs(**knobs), n)
    if strategy == "dummy_forcing":
        return Dummies(weights, config, DummyKnobs(**knobs), n)
    if strategy == "forcing_kv":
        return Kinds(weights, config, KindKnobs(**knobs), n)
    if strategy == "echo_infinity":
        return Queries(weights, config, QueryKnobs(**knobs), n)
    if strategy == "deep_forcing":
        return Deep(weights, config, DeepKnobs(**knobs), n)
    if strategy == "echo_forcing":
        return Scenes(weights, config, SceneKnobs(**knobs), n, script)
    if strategy == "quantized":
        return Packed(weights, config, knobs, n)
    if strategy == "videomla":
        inner = {name: value for name, value in knobs.items() if name not in ("policy", *LATENT_SIZES)}
        return Latents(weights, config, parse_knobs(knobs["policy"], inner, n), n)
    return Windowed(weights, config, parse_knobs(strategy, knobs, n), n)


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
    texts: list[str] | None = None,
    encode: Encode | None = None,
) -> Tensor:
    """Generate clean latents [B, latent_frames, C, H, W]; latent_size is (H, W).

    prompts [B, L, text_dim] hold until a switch (latent frame, embeddings, kind) takes effect, at the first
    chunk that starts at or after its frame. initial [B, F0, C, H, W] are the clean first frames of the video.
    texts and the texts of switches tell scenes apart, with encode: strings to embeddings [N, L, text_dim].
    """
    dtype = model_dtype(weights)
    batch = prompts.shape[0]
    if any(switch[2] not in SWITCH_KINDS for switch in switches):
        raise ValueError(f"switch kinds are {SWITCH_KINDS}")
    timesteps = warp_steps(steps, shift)
    sigmas = [sigma_at(timestep, shift) for timestep in timesteps]

    video = torch.full((batch, latent_frames, config["in_dim"], *latent_size), torch.nan, dtype=dtype)
    given = 0 if initial is None else initial.shape[1]
    if initial is not None:
        video[:, :given] = initial
    scripts: list[Script | None] = [None] * batch
    if texts is not None and encode is not None:
        said = [texts, *(switch[3] for switch in sorted(switches, key=lambda each: each[0]) if len(switch) > 3)]
        scripts = [Script([scene[row] for scene in said], encode) for row in range(batch)]
    memories = [opened(weights, config, strategy, knobs, chunk, script) for script in scripts]
    generated = 0
    start = 0
    before: int | None = None
    for frames in chunk_lengths(latent_frames, chunk, independent_first_frame):
        end = start + frames
        if start < given < end:
            raise ValueError(f"the {given} initial frames end inside a chunk")
        switch = due_switch(switches, before, start)
        current = Chunk(start, frames, None if switch is None else switch[2])
        old, prompts = prompts, prompts if switch is None else switch[1]
        for row, memory in enumerate(memories):
            memory.enter(current, video[row, :start], (old[row], prompts[row]))

        passes = 0
        if start >= given:
            shape = (batch, frames, config["in_dim"], *latent_size)
            noisy = noise.initial(generated, shape).to(dtype)
            clean = torch.empty(shape, dtype=dtype)
            for step, (timestep, sigma) in enumerate(zip(timesteps, sigmas, strict=True)):
                for row, memory in enumerate(memories):
                    velocity = memory.run(noisy[row], timestep, step, clean=False)
                    clean[row] = predict_clean(noisy[row], velocity, sigma)
                if step + 1 < len(timesteps):
                    fresh = noise.renoise(generated, step, shape).to(dtype)
                    noisy = renoise(clean, fresh, sigmas[step + 1])
            video[:, start:end] = clean
            generated += 1
            passes = len(timesteps)

        for row, memory in enumerate(memories):
            memory.run(video[row, start:end], 0.0, passes, clean=True)
        before, start = start, end
    return video
