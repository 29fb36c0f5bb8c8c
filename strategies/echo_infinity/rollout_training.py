"""Training of the memory on generated rollouts: a window with it should continue as a window with a sink does.

Source: Echo-Infinity, arXiv:2606.04527, whose second stage trains on streams of 60 s that the model generates. There
the loss is DMD; here the target is the output of the frozen model with the first chunk in its window.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from harness import registry
from harness.backbone.presets import Backbone
from harness.memory import At, Entries, Memory, Strategy
from harness.memory.proxy import Watched, watched
from harness.rollout.passes import Passes
from harness.training.clips import Clips
from harness.training.rollout_clips import clips_of
from harness.training.schedule import Exercise, Stage
from harness.training.trainer import Learner
from strategies.echo_infinity.memory import QueryMemory
from strategies.echo_infinity.strategy import EchoInfinity
from strategies.echo_infinity.training import encoder_of

STRETCH = 7
"""Length of a stream as a multiple of the backbone's training length: 63 s for 36 latent frames."""
REUSED = 16
"""Consecutive steps that use the same streams."""
REACH = 6
"""Consecutive chunks that the student generates in a step."""
MEMORABLE = 24
"""Chunks before these through whose updates gradients flow."""
ANCHORED = 4
"""The student has a sink in one step of this many. In the others the queries must supply the sink's information."""


@dataclass
class Streams:
    """Output of the guide for each chunk: its latents, its noise, and the entries that its layers remember."""

    clips: Clips
    chunks: list[Tensor] = field(default_factory=list)
    noise: list[list[Tensor]] = field(default_factory=list)
    entries: list[list[Entries]] = field(default_factory=list)


class Streaming(Learner):
    """Train the encoder to keep rollouts stable.

    The guide is the frozen model with the same window and a sink. It generates long streams that begin with a true
    chunk. A step begins at a random chunk. The student receives the guide's frames, its encoder reads those that leave
    its window, and then the student generates a few chunks by itself with the same noise. The loss compares them
    with the guide's chunks; gradients flow back through everything that the student generated, remembered and updated.
    The prompts of a clip are stretched to the length of a stream.
    """

    def __init__(self, backbone: Backbone, knobs: EchoInfinity, stage: Stage, folder: Path, seed: int) -> None:
        self.adapted, module, matrices = encoder_of(backbone, knobs)
        super().__init__(module, matrices, stage, folder, seed)
        self.backbone, self.knobs, self.source = backbone, knobs, clips_of(backbone)
        self.chunks = STRETCH * (backbone.trained_frames // backbone.chunk)
        self.grid = backbone.model.config.grid(backbone.latent_size)
        self.streams: Streams | None = None
        sampler, model = backbone.sampler, backbone.model
        levels = (*sampler.timesteps, float(sampler.context_noise))
        with torch.no_grad():
            self.times = [model.embed_time(torch.full((1, 1), level, device=model.device)) for level in levels]

    def losses(self, exercise: Exercise, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared difference of the student's chunks to the guide's, in percent of the latents'
        variance, and values to log."""
        if self.step % REUSED == 0 or self.streams is None:
            self.streams = self._play(self.step - self.step % REUSED)
        streams = self.streams
        begun = self.knobs.window // self.backbone.chunk + 1
        first = int(torch.randint(begun, self.chunks - REACH, (), generator=generator))
        sink = self.knobs.sink if self.step % ANCHORED == ANCHORED - 1 else 0
        student = self._student(streams, sink, first)
        errors = []
        for number in range(first, first + REACH):
            self._say(streams.clips, number, student)
            drawn = self._draw(student, number, streams.noise[number])
            errors.append((drawn - streams.chunks[number]).square().mean())
            self._remember(student, drawn, number)
        percent = 100 / streams.clips.spread**2
        logged = {"sink": float(sink), "first": float(first), "last_chunk": percent * float(errors[-1].detach())}
        return percent * torch.stack(errors).mean(), logged

    def _student(self, streams: Streams, sink: int, first: int) -> Passes:
        """Return a student before chunk `first`, after it was given all previous chunks."""
        passes, chunk = self._passes(self.adapted, replace(self.knobs, sink=sink), streams), self.backbone.chunk
        memory = passes.memory
        assert isinstance(memory, QueryMemory)
        for number in range(first):
            if number == first - MEMORABLE:
                memory.detach()
            at = At(number * chunk, chunk, len(self.times) - 1, commit=True)
            with torch.set_grad_enabled(number >= first - MEMORABLE):
                memory.begin_commit(at)
                for layer, entries in enumerate(streams.entries[number]):
                    memory.remember(layer, entries, None, at)
        return passes

    def _draw(self, passes: Passes, number: int, noise: list[Tensor]) -> Tensor:
        chunk = self.backbone.chunk

        def flow(noisy: Tensor, step: int) -> Tensor:
            return passes.denoise(noisy, self.times[step], At(number * chunk, chunk, step, commit=False))

        return self.backbone.sampler.draw(noise.__getitem__, flow)

    def _remember(self, passes: Passes, drawn: Tensor, number: int) -> None:
        # The true chunk has no denoising passes, so its commit pass is its first.
        index = len(self.times) - 1 if number else 0
        at = At(number * self.backbone.chunk, self.backbone.chunk, index, commit=True)
        passes.commit(drawn, self.times[-1], at)

    @torch.no_grad()
    def _play(self, first: int) -> Streams:
        """Generate streams of the guide, for the steps that begin at this one."""
        generator = self.generator(-1 - first)
        clips = self.source(self.seed, self.stage.first_lesson + first, self.stage.exercise(first, generator))
        streams, chunk = Streams(clips), self.backbone.chunk
        anchored = registry.strategy("attention_sink", window=self.knobs.window, sink=chunk)
        guide = self._passes(self.backbone, watched(anchored, partial(_EntryRecorder, streams.entries)), streams)
        for number in range(self.chunks):
            self._say(clips, number, guide)
            shape = clips.clean[:, :chunk].shape
            noise = [torch.randn(shape, generator=generator).to(clips.clean) for _ in self.backbone.sampler.sigmas]
            drawn = self._draw(guide, number, noise) if number else clips.clean[:, :chunk]
            self._remember(guide, drawn, number)
            streams.chunks.append(drawn)
            streams.noise.append(noise)
        return streams

    def _passes(self, backbone: Backbone, strategy: Strategy, streams: Streams) -> Passes:
        spec = backbone.model.memory_spec(self.grid, backbone.chunk, len(streams.clips.clean))
        memory = strategy.open(spec)
        return Passes(backbone.model, memory, spec, grid=self.grid, frames=self.knobs.window, grad=True)

    def _say(self, clips: Clips, number: int, passes: Passes) -> None:
        heard = clips.heard[:, number // STRETCH]
        with torch.no_grad():
            said = self.backbone.model.embed_prompt(clips.prompts)
        passes.prompt = [(keys[heard], values[heard]) for keys, values in said]


class _EntryRecorder(Watched):
    """Memory that records the entries it is given to remember: for each chunk, a list of the entries of all layers."""

    def __init__(self, entries: list[list[Entries]], inner: Memory) -> None:
        super().__init__(inner)
        self.entries = entries

    def begin_commit(self, at: At) -> None:
        self.entries.append([])
        self.inner.begin_commit(at)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        self.entries[-1].append(entries.map(Tensor.clone))
        self.inner.remember(layer, entries, query, at)
