"""One video from a prompt: the first thing to play with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import PresetError
from harness.memory import Strategy
from harness.noise import PairedNoise
from harness.rollout import Chunk, rollout
from harness.script import Script, parse_script

USUAL_SECONDS = 30.0


@dataclass(frozen=True)
class Piece:
    """What a chunk gives: its pictures [T, 3, H, W] and the seconds at which the first one is shown."""

    pictures: Tensor
    seconds: float


def sample(backbone: Backbone, strategy: Strategy, script: Script, *, seed: int = 0) -> Iterator[Piece]:
    """Decode one rollout of a script chunk by chunk; nothing that is yielded is kept.

    Raises PresetError for a backbone without a text encoder or a codec, and what `rollout` raises.
    """
    text, codec = backbone.text, backbone.codec
    if text is None or codec is None:
        raise PresetError(f"backbone {backbone.name!r} has no text encoder and codec of its own; sample with pocket")
    backbone.prepare(cue.text for cue in script.cues)
    first, *later = script.cues
    chunks = rollout(
        backbone,
        strategy,
        prompts=text([first.text]),
        latent_frames=script.frames,
        latent_size=backbone.latent_size,
        noise=PairedNoise([(seed, first.text)]),
        switches=[(cue.start, text([cue.text]), cue.boundary, [cue.text]) for cue in later],
        texts=[first.text],
        encode=text,
    )
    return _decoded(chunks, codec.decoder(), backbone.latents_per_second)


def script_of(backbone: Backbone, text: str, seconds: float | None = None) -> Script:
    """The script that a prompt is, of so many seconds, rounded up to whole chunks.

    Without them it is as long as it says, 30 s where it does not. Raises PresetError for a length that cannot be,
    PromptError for a script that cannot be read, or that the backbone's world cannot show.
    """
    script = parse_script(text, rate=backbone.latents_per_second, chunk=backbone.chunk)
    if backbone.check_script is not None:
        backbone.check_script([(cue.start, cue.text) for cue in script.cues])
    if seconds is None:
        if "[" in text or len(script.cues) > 1:
            return script
        seconds = USUAL_SECONDS
    if not (math.isfinite(seconds) and seconds > 0):
        raise PresetError(f"a video of {seconds:g} s cannot be; give a positive number of seconds")
    frames = math.ceil(seconds * backbone.latents_per_second / backbone.chunk) * backbone.chunk
    last = script.cues[-1]
    if last.start >= frames:
        raise PresetError(
            f"a video of {seconds:g} s ends before its last scene, {last.text!r}, begins at "
            f"{last.start / backbone.latents_per_second:g} s; give more seconds, or leave them out"
        )
    return replace(script, frames=frames)


def _decoded(chunks: Iterator[Chunk], decode: Callable[[Tensor], Tensor], rate: float) -> Iterator[Piece]:
    for chunk in chunks:
        yield Piece(decode(chunk.latents)[0].float().cpu(), chunk.start / rate)
