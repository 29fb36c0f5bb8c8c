"""What a rollout is asked for, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import get_args

import psutil
import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import HorizonTooLongError, NotFiniteError, ShapeError, SwitchError
from harness.memory import Boundary, MemorySpec, Strategy
from harness.rollout.noise import Noise
from harness.rollout.script import Encode, EncodedCue

Switch = EncodedCue | tuple[int, Tensor, Boundary] | tuple[int, Tensor, Boundary, Sequence[str]]
"""A tuple holds the fields of an `EncodedCue` in their order."""
GB = 1e9


@dataclass(frozen=True)
class Request:
    """A checked request.

    grid: tokens of a frame as (rows, columns). cues: the first prompt and the switches, each at the first frame of the
    chunk that is the first to see it.
    """

    batch: int
    latent_frames: int
    latent_size: tuple[int, int]
    grid: tuple[int, int]
    noise: Noise
    cues: tuple[EncodedCue, ...]
    initial: Tensor | None
    forced: Tensor | None
    encode: Encode | None

    def scene_at(self, start: int) -> int:
        """Which scene a chunk that starts at this frame belongs to."""
        return max(number for number, cue in enumerate(self.cues) if cue.start <= start)


def check_request(
    backbone: Backbone,
    prompts: Tensor,
    latent_frames: int,
    latent_size: tuple[int, int],
    noise: Noise,
    switches: Sequence[Switch],
    initial: Tensor | None,
    forced: Tensor | None,
    texts: Sequence[str] | None,
    encode: Encode | None,
) -> Request:
    """The arguments of a rollout as a `Request`; raises what `harness.rollout.loop.rollout` says it raises."""
    config = backbone.model.config
    if not (
        isinstance(latent_size, Sequence)
        and len(latent_size) == 2
        and all(isinstance(n, Integral) for n in latent_size)
    ):
        raise ShapeError(f"latent_size is {latent_size!r}; needed: (height, width), two whole numbers")
    height, width = latent_size
    grid = config.grid((height, width))
    if config.in_dim != config.out_dim:
        raise ShapeError(
            f"this model turns {config.in_dim} channels into {config.out_dim}; a rollout needs as many out as in"
        )
    _check_prompts("prompts", prompts, None, backbone)
    batch = prompts.shape[0]
    _check_texts(texts, batch)
    _check_frames("latent_frames", latent_frames, backbone)
    if forced is not None:
        forced = _checked("forced latents", forced, batch, (height, width), backbone)
        if forced.shape[1] != latent_frames:
            raise ShapeError(f"forced latents are {forced.shape[1]} frames; needed: all {latent_frames} of the video")
    if initial is not None:
        initial = _checked("initial latents", initial, batch, (height, width), backbone)
        if initial.shape[1] >= latent_frames:
            raise ShapeError(
                f"initial latents are {initial.shape[1]} frames and the whole video {latent_frames}; nothing is left "
                "to generate: raise latent_frames, which counts them"
            )
    cues = [EncodedCue(0, prompts, texts=texts)]
    for switch in switches:
        cues.append(_checked_switch(switch, cues[-1], batch, latent_frames, backbone))
    return Request(batch, latent_frames, (height, width), grid, noise, tuple(cues), initial, forced, encode)


def longest_context(chunk: int, latent_frames: int, capacity: int | None) -> int:
    """Latent frames of the longest context in a video of `latent_frames`, for a memory of this capacity."""
    before_last = max(0, latent_frames - chunk)
    return before_last if capacity is None else min(before_last, capacity)


def laid_out_bytes(spec: MemorySpec, latent_frames: int, capacity: int | None) -> int:
    """Bytes of the laid-out contexts of all layers, with room for the chunk."""
    return spec.bytes((longest_context(spec.chunk, latent_frames, capacity) + spec.chunk) * spec.frame_tokens)


def most_bytes(strategy: Strategy, spec: MemorySpec, latent_frames: int, capacity: int | None) -> int:
    """Bytes that a memory of this capacity holds at most in a video of `latent_frames`.

    That is at its end, or where its contexts first exceed their capacity, if it evicts only then.
    """
    filled = latent_frames if capacity is None else min(latent_frames, capacity + spec.chunk)
    return max(strategy.footprint(spec, frames) for frames in (filled, latent_frames))


def check_room(strategy: Strategy, spec: MemorySpec, latent_frames: int, capacity: int | None, shared: bool) -> None:
    """Raise HorizonTooLongError where the memory and its laid-out contexts exceed what the device has free, or its
    archive what the host has.

    shared: whether all layers share one laid-out context.
    """
    if spec.device.type == "meta":
        return
    held = most_bytes(strategy, spec, latent_frames, capacity)
    laid_out = laid_out_bytes(spec, latent_frames, capacity) // (spec.layers if shared else 1)
    archived, host = strategy.archive_bytes(spec, latent_frames), psutil.virtual_memory().available
    free = torch.cuda.mem_get_info(spec.device)[0] if spec.device.type == "cuda" else host - archived
    if archived and archived > host:
        raise HorizonTooLongError(
            f"{strategy!r} archives {archived / GB:.2f} GB of {latent_frames} latent frames in the host's memory, "
            f"which has {host / GB:.2f} GB free; shorten the video or lower the batch"
        )
    if held + laid_out > free:
        advice = "shorten the video" + ("" if strategy.bounded else " or choose a bounded strategy")
        raise HorizonTooLongError(
            f"{strategy!r} needs {(held + laid_out) / GB:.2f} GB for {latent_frames} latent frames "
            f"({held / GB:.2f} GB held, {laid_out / GB:.2f} GB laid out) and {spec.device} has {free / GB:.2f} GB "
            f"free; {advice}, lower the batch, or use layout='pass'"
        )


def _cue_of(switch: Switch) -> EncodedCue:
    if isinstance(switch, EncodedCue):
        return switch
    if len(switch) not in (3, 4):
        raise SwitchError(
            f"a switch has {len(switch)} parts; needed: (latent_frame, embeddings, kind) or (..., kind, texts)"
        )
    return EncodedCue(*switch)


def _checked_switch(
    switch: Switch, before: EncodedCue, batch: int, latent_frames: int, backbone: Backbone
) -> EncodedCue:
    """Return a switch, moved to the first frame of the chunk at which it takes effect."""
    cue = _cue_of(switch)
    frame, kind = cue.start, cue.boundary
    if kind not in get_args(Boundary):
        raise SwitchError(f"switch at frame {frame}: unknown kind {kind!r}; allowed: {', '.join(get_args(Boundary))}")
    if not isinstance(frame, Integral):
        raise SwitchError(f"switch at frame {frame!r}: a frame is a whole number")
    if not 1 <= frame < latent_frames:
        raise SwitchError(
            f"switch at frame {frame} is outside of the video; allowed: 1 to {latent_frames - 1} "
            "(the first prompt is given as prompts)"
        )
    _check_prompts(f"switch at frame {frame}: embeddings", cue.embeddings, batch, backbone)
    _check_texts(cue.texts, batch)
    first = 1 if backbone.independent_first_frame else 0
    start = first + -(-(frame - first) // backbone.chunk) * backbone.chunk
    if start >= latent_frames:
        last = start - backbone.chunk
        advice = f"move it to {last} or earlier, or lengthen" if last > 0 else "lengthen"
        raise SwitchError(
            f"switch at frame {frame} would take effect at the chunk that starts at frame {start}, and the video has "
            f"{latent_frames}; {advice} the video"
        )
    if start <= before.start:
        raise SwitchError(
            f"switch at frame {frame} takes effect at frame {start}, where or before the switch listed ahead of it "
            f"does (frame {before.start}); keep one switch a chunk, in order"
        )
    return replace(cue, start=start)


def _checked(name: str, latents: Tensor, batch: int, size: tuple[int, int], backbone: Backbone) -> Tensor:
    """Clean latents that a rollout was given, as the backbone takes them."""
    channels = backbone.model.config.in_dim
    if latents.ndim != 5 or (latents.shape[0], *latents.shape[2:]) != (batch, channels, *size):
        needed = f"[{batch}, frames, {channels}, {size[0]}, {size[1]}]"
        raise ShapeError(f"{name} are {list(latents.shape)}; needed: {needed}")
    _check_frames(f"{name}: frames", latents.shape[1], backbone)
    latents = latents.to(backbone.model.device, backbone.model.dtype)
    _check_finite(name, latents)
    return latents


def _check_prompts(name: str, prompts: Tensor, batch: int | None, backbone: Backbone) -> None:
    config = backbone.model.config
    allowed = f"[{batch or 'batch'}, at most {config.text_len} tokens, {config.text_dim}]"
    if not isinstance(prompts, Tensor):
        raise ShapeError(f"{name} are a {type(prompts).__name__}; needed: embeddings, a tensor {allowed}")
    if (
        prompts.ndim != 3
        or prompts.shape[0] != (batch or prompts.shape[0])
        or not 1 <= prompts.shape[1] <= config.text_len
        or prompts.shape[2] != config.text_dim
        or not prompts.shape[0]
    ):
        raise ShapeError(f"{name} are {list(prompts.shape)}; needed: {allowed}")
    _check_finite(name, prompts.to(backbone.model.dtype))


def _check_texts(texts: Sequence[str] | None, batch: int) -> None:
    if texts is not None and (isinstance(texts, str) or len(texts) != batch):
        given = "one string" if isinstance(texts, str) else f"{len(texts)} of them"
        raise ShapeError(f"texts must be a list of {batch}, one a row; given: {given}")


def _check_frames(name: str, frames: int, backbone: Backbone) -> None:
    chunk, first = backbone.chunk, 1 if backbone.independent_first_frame else 0
    if not isinstance(frames, Integral):
        raise ShapeError(f"{name} = {frames!r} is not a whole number")
    if frames < 1 or (frames - first) % chunk:
        below = max(frames - first, 0) // chunk * chunk + first
        options = [n for n in (below, below + chunk) if n > 0]
        shape = f"1 + a multiple of the chunk ({chunk})" if first else f"a multiple of the chunk ({chunk})"
        raise ShapeError(f"{name} = {frames} is not {shape}; use {' or '.join(map(str, options))}")


def _check_finite(name: str, x: Tensor) -> None:
    # On "meta" there is nothing to be finite.
    bad = 0 if x.device.type == "meta" else int((~torch.isfinite(x)).sum())
    if bad:
        raise NotFiniteError(f"{name} hold {bad} NaN or infinite values of {x.numel()}; only finite ones are allowed")


def beyond_training(backbone: Backbone, name: str, strategy: Strategy, frames: int) -> str | None:
    """Why the strategy called `name` is not defined over so many latent frames; None where it is."""
    limit = backbone.trained_frames
    if strategy.bounded or frames <= limit:
        return None
    return f"{name} keeps every frame; beyond the {limit} latent frames of its training it is not defined"
