"""One video from a prompt: the first thing to play with."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import NotFiniteError, PresetError, PromptError
from harness.films.decoding import Decoded, Decoding
from harness.limits import LONGEST
from harness.memory import Strategy
from harness.rollout.chunk import Chunk
from harness.rollout.loop import rollout
from harness.rollout.noise import PairedNoise
from harness.rollout.script import Cue, Script, check_text, encoded, is_script, parse_script

USUAL_SECONDS = 30.0


@dataclass(frozen=True)
class Piece:
    """What a chunk gives: its pictures [T, 3, H, W] and the seconds at which the first one is shown."""

    pictures: Tensor
    seconds: float


def sample(backbone: Backbone, strategy: Strategy, script: Script, *, seed: int = 0) -> Iterator[Piece]:
    """Decode one rollout of a script chunk by chunk; nothing that is yielded is kept.

    Raises PresetError for a backbone without a text encoder or a codec, NotFiniteError where a chunk is no video, and
    what `rollout` raises.
    """
    text, codec = backbone.text, backbone.codec
    if text is None or codec is None:
        raise PresetError(f"backbone {backbone.name!r} has no text encoder and codec of its own; sample with pocket")
    backbone.prepare(cue.text for cue in script.cues)
    first, *later = encoded([script.cues], text)
    chunks = rollout(
        backbone,
        strategy,
        prompts=first.embeddings,
        latent_frames=script.frames,
        latent_size=backbone.latent_size,
        noise=PairedNoise([(seed, script.cues[0].text)]),
        switches=later,
        texts=first.texts,
        encode=text,
    )
    decoding = Decoding(codec.decoder(), backbone.model.device, to_host=True)
    return _decoded(chunks, decoding, backbone.latents_per_second)


def script_of(backbone: Backbone, text: str, seconds: float | None = None) -> Script:
    """Return the script that a typed text is, of so many seconds, rounded up to whole chunks.

    A text without a mark, such as [10s], is one prompt as it is typed. Without `seconds` a script is as long as it
    says, and a prompt 30 s. Raises PresetError for a length that cannot be, PromptError for a text that cannot be read,
    or that a known world cannot show.
    """
    rate = backbone.latents_per_second
    if is_script(text):
        script = parse_script(text, rate=rate, chunk=backbone.chunk)
        if backbone.world is not None:
            backbone.world.check([(cue.start, cue.text) for cue in script.cues])
        if seconds is None:
            if script.frames > LONGEST * rate:
                raise PresetError(f"{script.frames:,} latent frames are more than 31 days of video; shorten the scenes")
            return script
    else:
        check_text(text)
        if not text.strip():
            raise PromptError("there is no prompt; write for instance: a fox in the snow")
        script = Script((Cue(0, text.strip()),), backbone.chunk)
    if seconds is None:
        seconds = USUAL_SECONDS
    if not 0 < seconds <= LONGEST:
        raise PresetError(
            f"a video of {seconds:g} s cannot be; give a positive number of seconds, at most {LONGEST:,.0f} (31 days)"
        )
    frames = math.ceil(seconds * rate / backbone.chunk) * backbone.chunk
    last = script.cues[-1]
    if last.start >= frames:
        raise PresetError(
            f"a video of {seconds:g} s ends before its last scene, {last.text!r}, begins at {last.start / rate:g} s; "
            "give more seconds, or leave them out"
        )
    return replace(script, frames=frames)


def _decoded(chunks: Iterator[Chunk], decoding: Decoding, rate: float) -> Iterator[Piece]:
    """Yield the pieces of a rollout; where chunks are decoded beside the passes, each one once decoding of the next
    chunk has begun."""
    begun: deque[tuple[int, Callable[[], Decoded]]] = deque()
    try:
        for chunk in chunks:
            begun.append((chunk.start, decoding.start(chunk.latents)))
            if len(begun) > int(decoding.beside):
                yield _piece(*begun.popleft(), rate)
    except Exception:
        # What was made before a rollout failed is a part of the video.
        while begun:
            yield _piece(*begun.popleft(), rate)
        raise
    while begun:
        yield _piece(*begun.popleft(), rate)


def _piece(start: int, take: Callable[[], Decoded], rate: float) -> Piece:
    made = take()
    pictures = made.pictures[0].float()
    for what, finite in (("latents", made.finite), ("pictures", pictures.isfinite().all())):
        if not bool(finite):
            raise NotFiniteError(f"{what} are not finite from latent frame {start} ({start / rate:g} s) on")
    return Piece(pictures, start / rate)
