"""The chunk loop: one video from one backbone and one memory, chunk by chunk.

Source: Self-Forcing, arXiv:2506.08009, section on self-rollout. A chunk is denoised in a few passes, each of which may
attend to what the memory recalls; then a clean pass, the commit pass, gives the memory the chunk's own entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.backbone.request import Compilation
from harness.backbone.wan import CausalWan
from harness.errors import KnobError, PresetError, ResumeError, ShapeError
from harness.memory import At, PromptSwitch, Strategy
from harness.rollout.chunk import Chunk
from harness.rollout.noise import Noise
from harness.rollout.passes import Lifetime, Passes
from harness.rollout.request import Request, Switch, check_request, check_room, longest_context
from harness.rollout.script import Encode
from harness.rollout.state import ARCHIVE, PARTS, State, check_state, copied


def rollout(
    backbone: Backbone | CausalWan,
    strategy: Strategy,
    *,
    prompts: Tensor,
    latent_frames: int,
    latent_size: tuple[int, int],
    noise: Noise,
    switches: Sequence[Switch] = (),
    initial: Tensor | None = None,
    forced: Tensor | None = None,
    texts: Sequence[str] | None = None,
    encode: Encode | None = None,
    resume: State | None = None,
    compile: Compilation | bool | None = None,
    layout: Lifetime = "chunk",
    grad: bool = False,
) -> Iterator[Chunk]:
    """Generate a video, one chunk at a time.

    Chunks are yielded as soon as their latents are final; the commit pass of a chunk runs when the generator goes on.
    All arguments are checked before the first chunk.

    Parameters
    ----------
    backbone
        A preset, or a bare model (shift 5, the four warped steps, chunk 3).
    strategy
        Opens the memory.
    prompts
        Text embeddings [B, L, text_dim].
    latent_frames
        Length of the whole video in latent frames, `initial` included; the chunk must divide it.
    latent_size
        Height and width of a latent frame.
    noise
        Has `initial(chunk, shape)` and `renoise(chunk, step, shape)`; chunk counts the generated chunks from 0.
    switches
        An `EncodedCue` each (`harness.rollout.encoded` makes them of scripts), or its fields as a tuple:
        (latent_frame, embeddings, boundary) or (latent_frame, embeddings, boundary, texts). Each takes effect at the
        first chunk that starts at or after its frame. boundary: "smooth", "hardcut" or "recall", as it is entered.
    initial
        Clean latents [B, frames, C, H, W] that the video starts with (continuation); they are not yielded.
    forced
        Clean latents [B, latent_frames, C, H, W] for teacher forcing: every chunk is yielded as it was drawn, and what
        the memory gets of it is the frames given here.
    texts, encode
        The prompts as strings, and strings to embeddings; only for strategies that match scenes.
    resume
        `Chunk.state()` of a rollout with the same arguments; it goes on after that chunk, bit for bit.
    compile
        How passes run (`harness.backbone.request`) wherever contexts have a size that the memory calls steady; eagerly
        before, and where the memory recalls by the query. By default as the backbone says. Equal within rounding.
    layout
        "chunk", or "pass" to lay contexts out in every pass, in one scratch that all layers share.
    grad
        Whether to keep the graph, for training.

    Returns
    -------
    iterator of Chunk
        The chunks in their order.

    Raises
    ------
    ShapeError, PresetError
        For sizes, lengths, a layout or a compilation that do not fit.
    NotFiniteError
        For NaN or infinity in what is given.
    SwitchError, KnobError
        For switches that cannot take effect, and knobs that do not fit.
    HorizonTooLongError
        For a horizon that the memory cannot hold here.
    ResumeError
        For a state of another rollout.
    """
    if not isinstance(strategy, Strategy):
        raise KnobError(f"strategy is {strategy!r}; needed: one with its knobs, as registry.strategy(name) makes it")
    if layout not in get_args(Lifetime):
        raise PresetError(f"unknown layout {layout!r}; allowed: {', '.join(get_args(Lifetime))}")
    backbone = strategy.adapt(Backbone.of(backbone, compile))
    request = check_request(
        backbone, prompts, latent_frames, latent_size, noise, switches, initial, forced, texts, encode
    )
    # Buffers outlive the caller's inference mode, if there is one: its tensors could not be written to outside of it.
    with torch.inference_mode(False):
        return _Rollout(backbone, strategy, request, resume, layout, grad).chunks()


class _Rollout:
    """The state of one rollout: where it is, which prompt is active, and what may still be asked for."""

    def __init__(
        self,
        backbone: Backbone,
        strategy: Strategy,
        request: Request,
        resume: State | None,
        layout: Lifetime,
        grad: bool,
    ) -> None:
        model = backbone.model
        self.backbone, self.strategy, self.request, self.grad = backbone, strategy, request, grad
        self.spec = backbone.memory_spec(request.batch, request.latent_size)
        self.memory = strategy.open(self.spec)
        check_room(strategy, self.spec, request.latent_frames, self.memory.capacity, layout == "pass")
        self.passes = Passes(
            model,
            self.memory,
            self.spec,
            grid=request.grid,
            frames=longest_context(backbone.chunk, request.latent_frames, self.memory.capacity),
            reads_query=strategy.reads_query,
            reads_commit_query=strategy.reads_commit_query,
            layout=layout,
            compile=backbone.compile,
            grad=grad,
        )
        self.start = 0  # absolute id of the next chunk's first frame
        self.index = 0  # number of the next generated chunk
        self.scene = 0  # which prompt is active
        # Clean latents that a switch may want to look back at.
        self.past = torch.empty(
            request.batch, 0, model.config.in_dim, *request.latent_size, dtype=model.dtype, device=model.device
        )
        self.uncommitted: Tensor | None = None
        if resume is not None:
            self._resume(resume)
        with torch.set_grad_enabled(self.grad):
            self._say(request.cues[self.scene].embeddings)
            steps = (*backbone.sampler.timesteps, backbone.sampler.context_noise)
            self.times = [model.embed_time(torch.tensor([[step]], device=model.device)) for step in steps]

    def chunks(self) -> Iterator[Chunk]:
        while True:
            # Grad mode is set around the work only, so that it never leaks to the caller between two chunks.
            with torch.set_grad_enabled(self.grad):
                if self._finished():
                    return
                self._commit()
                given = self.request.initial
                while given is not None and self.start < given.shape[1]:
                    self.uncommitted = given[:, self.start : self.start + self._frames()]
                    self._enter()
                    self._commit()
                if self._finished():
                    return
                self._enter()
                self.uncommitted = self._denoise()
                # A copy, because the caller may change it before the commit pass reads the latents.
                latents = self.uncommitted.clone()
                if self.request.forced is not None:
                    self.uncommitted = self.request.forced[:, self.start : self.start + latents.shape[1]]
                chunk = Chunk(latents, self.start, self.index, partial(self._snapshot, self.index))
                self.index += 1
            yield chunk

    def _finished(self) -> bool:
        """Whether the video is complete; its last chunk is committed only if its state is asked for."""
        pending = 0 if self.uncommitted is None else self.uncommitted.shape[1]
        return self.start + pending >= self.request.latent_frames

    def _frames(self) -> int:
        """Latent frames of the next chunk."""
        return 1 if self.backbone.independent_first_frame and self.start == 0 else self.backbone.chunk

    def _denoise(self) -> Tensor:
        frames, sampler, noise = self._frames(), self.backbone.sampler, self.request.noise
        shape = torch.Size((self.spec.batch, frames, self.backbone.model.config.in_dim, *self.request.latent_size))

        def fresh(step: int) -> Tensor:
            given = noise.renoise(self.index, step - 1, shape) if step else noise.initial(self.index, shape)
            try:
                return given.to(self.spec.device, self.spec.dtype, non_blocking=True).expand(shape)
            except RuntimeError:
                raise ShapeError(f"the noise is {list(given.shape)}; a chunk here needs {list(shape)}") from None

        def flow(noisy: Tensor, step: int) -> Tensor:
            return self.passes.denoise(noisy, self.times[step], At(self.start, frames, step, commit=False))

        return sampler.draw(fresh, flow)

    def _commit(self) -> None:
        """Run the commit pass of the last chunk, if that has not been done."""
        if self.uncommitted is None:
            return
        latents, self.uncommitted = self.uncommitted, None
        frames = latents.shape[1]
        given = self.request.initial is not None and self.start < self.request.initial.shape[1]
        passes = 0 if given else len(self.backbone.sampler.sigmas)
        at = At(self.start, frames, passes, commit=True)
        self.passes.commit(latents, self.times[-1], at)
        self.start += frames
        if self.memory.lookback:
            self.past = torch.cat((self.past, latents), 1)[:, -self.memory.lookback :]
        self.memory.see(latents, at)

    def _enter(self) -> None:
        """Make the prompt of the chunk that starts here the active one, and let the memory know."""
        scene = self.request.scene_at(self.start)
        if scene == self.scene:
            return
        old, new = self.request.cues[self.scene], self.request.cues[scene]
        self.scene = scene
        self._say(new.embeddings)
        self.memory.forget(
            PromptSwitch(
                start=self.start,
                kind=new.boundary,
                old_prompts=old.embeddings,
                new_prompts=new.embeddings,
                latents=self.past,
                replay=self._replay,
                old_texts=old.texts,
                new_texts=new.texts,
                script=self._script(),
                encode=self.request.encode,
            )
        )

    def _script(self) -> list[Sequence[str]] | None:
        texts = [cue.texts for cue in self.request.cues if cue.texts is not None]
        return texts if len(texts) == len(self.request.cues) else None

    def _say(self, prompts: Tensor) -> None:
        self.passes.prompt = self.backbone.model.embed_prompt(prompts)
        self.memory.hear(self.passes.prompt)

    def _replay(self, latents: Tensor, start: int, chunk: int | None = None) -> None:
        if not latents.shape[1]:
            return
        for part in latents.split(chunk or latents.shape[1], 1):
            self.passes.commit(part, self.times[-1], At(start, part.shape[1], 0, commit=True))
            start += part.shape[1]

    def _fingerprint(self) -> dict[str, Any]:
        """What must be the same for a state to go on: everything else may differ between machines."""
        return {
            "strategy": repr(self.strategy),
            "config": repr(self.backbone.model.config),
            "chunk": [self.backbone.chunk, self.backbone.independent_first_frame],
            "batch": self.spec.batch,
            "latent_size": list(self.request.latent_size),
            "dtype": str(self.spec.dtype),
        }

    def _snapshot(self, index: int) -> State:
        """The state after the chunk of this number, which must be the latest one."""
        if self.index != index + 1:
            raise ResumeError(f"chunk {index} is no longer the latest; take its state before asking for the next one")
        with torch.set_grad_enabled(self.grad):
            self._commit()
        state = {
            "fingerprint": self._fingerprint(),
            "start": self.start,
            "index": self.index,
            "scene": self.scene,
            "past": self.past,
            "memory": self.memory.state_dict(),
        }
        # Off the device, where a second memory may not fit. An archive is there already, and is never written to.
        return copied(state, lambda x: x.detach().clone() if x.is_meta else x.detach().to("cpu", copy=True)) | {
            ARCHIVE: dict(self.memory.archived())
        }

    def _resume(self, state: State) -> None:
        check_state(state, self._fingerprint(), self.request.latent_frames, len(self.request.cues))
        own = copied({part: state[part] for part in PARTS}, lambda x: x.to(self.spec.device, copy=True))
        self.start, self.index, self.scene, self.past = (own[name] for name in ("start", "index", "scene", "past"))
        self.memory.load_archive(state[ARCHIVE])
        self.memory.load_state_dict(own["memory"])
