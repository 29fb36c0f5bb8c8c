"""One video from a prompt: the first thing to play with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import PresetError, SwitchError
from harness.memory import Boundary, Strategy
from harness.noise import PairedNoise
from harness.rollout import Chunk, rollout


@dataclass(frozen=True)
class Piece:
    """What a chunk gives: its pictures [T, 3, H, W] and the seconds at which the first one is shown."""

    pictures: Tensor
    seconds: float


def sample(
    backbone: Backbone,
    strategy: Strategy,
    prompt: str,
    *,
    seconds: float,
    seed: int = 0,
    switches: Sequence[tuple[float, Boundary, str]] = (),
) -> Iterator[Piece]:
    """Decode one rollout chunk by chunk; nothing that is yielded is kept.

    seconds: of video, rounded up to whole chunks. switches: (second, boundary, prompt). Raises PresetError for a
    backbone without a text encoder or a codec, SwitchError for a switch beyond the end, and what `rollout` raises.
    """
    text, codec = backbone.text, backbone.codec
    if text is None or codec is None:
        raise PresetError(f"backbone {backbone.name!r} has no text encoder and codec of its own; sample with pocket")
    frames = frames_of(backbone, seconds)
    late = [at for at, _, _ in switches if not 0 < at < seconds]
    if late:
        raise SwitchError(f"switches at {late} s; needed: after 0 and before the end at {seconds:g} s")
    chunks = rollout(
        backbone,
        strategy,
        prompts=text([prompt]),
        latent_frames=frames,
        latent_size=backbone.latent_size,
        noise=PairedNoise([(seed, prompt)]),
        switches=[
            (round(at * backbone.latents_per_second), text([said]), kind, [said]) for at, kind, said in sorted(switches)
        ],
        texts=[prompt],
        encode=text,
    )
    return _decoded(chunks, codec.decoder(), backbone.latents_per_second)


def frames_of(backbone: Backbone, seconds: float) -> int:
    """Latent frames of a video of this length, whole chunks. Raises PresetError for a length that cannot be."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise PresetError(f"a video of {seconds:g} s cannot be; give a positive number of seconds")
    return math.ceil(seconds * backbone.latents_per_second / backbone.chunk) * backbone.chunk


def _decoded(chunks: Iterator[Chunk], decode: Callable[[Tensor], Tensor], rate: float) -> Iterator[Piece]:
    for chunk in chunks:
        yield Piece(decode(chunk.latents)[0].float().cpu(), chunk.start / rate)
