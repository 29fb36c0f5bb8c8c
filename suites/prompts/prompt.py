"""A prompt for a video: its scenes, and the latent frames at which they begin.

A prompt's scenes are stored without the marks of a script, so that prompts from elsewhere may contain brackets and
bars, which `harness.rollout.script` reads as marks and joints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.errors import PromptError
from harness.memory import Boundary
from harness.rollout.script import Cue, Script, parse_script


@dataclass(frozen=True)
class WrittenScene:
    """A scene as a file of prompts writes it: with its length instead of its start. `script` makes a `Cue` of it.

    text: the prompt as the model reads it. boundary: how the scene is entered. length: "10s", "84f" (latent frames), or
    "" where the file gives none.
    """

    text: str
    boundary: Boundary = "smooth"
    length: str = ""


@dataclass(frozen=True)
class Prompt:
    """The scenes of one video.

    starts: latent frames at which the scenes after the first begin, where they were given instead of lengths. frames:
    length of the whole, where it was given. seed: seed of its rollout, which replaces the campaign's, or None.
    vbench: the prompt of VBench that it extends, and with which VBench scores its film; "" for none.
    """

    id: str
    scenes: tuple[WrittenScene, ...]
    starts: tuple[int, ...] = ()
    frames: int | None = None
    seed: int | None = None
    vbench: str = ""


@dataclass(frozen=True)
class PromptSet:
    """Prompts in order, without duplicates. sha256: of the bytes of their file."""

    name: str
    prompts: tuple[Prompt, ...]
    sha256: str


def first(prompts: PromptSet, count: int) -> tuple[Prompt, ...]:
    """Return the first `count` prompts of a set. Raises PromptError where there are fewer."""
    if not 1 <= count <= len(prompts.prompts):
        raise PromptError(
            f"{count} prompts of {prompts.name!r} were requested; it has {len(prompts.prompts)}, so request 1 to "
            f"{len(prompts.prompts)}"
        )
    return prompts.prompts[:count]


def script(prompt: Prompt, *, rate: float, chunk: int, frames: int | None = None) -> Script:
    """Return a prompt's scenes with the latent frames at which they begin, all at whole chunks.

    rate: latent frames a second. frames: length of the whole, which overrides that of the prompt; the last scene takes
    the rest. Lengths are converted as in `parse_script`; scenes without lengths share a given whole equally; a scene
    that would begin inside of a chunk begins with the next one, as published. Raises PromptError where a scene has no
    chunk of its own.
    """
    whole = prompt.frames if frames is None else frames
    if whole is not None and whole % chunk:
        raise PromptError(
            f"prompt {prompt.id!r}: {whole} latent frames are not whole chunks of {chunk}; "
            f"ask for {math.ceil(whole / chunk) * chunk}"
        )
    if prompt.starts:
        begins = [0, *(math.ceil(start / chunk) * chunk for start in prompt.starts)]
        # Published lists do not state the end: their last scene gets the length of the one before it.
        told = math.ceil((2 * prompt.starts[-1] - (0, *prompt.starts)[-2]) / chunk) * chunk
    elif whole is not None and not any(scene.length for scene in prompt.scenes):
        count = len(prompt.scenes)
        begins, told = [number * (whole // chunk) // count * chunk for number in range(count)], whole
    else:
        marks = (f"scene [{scene.length}]" if scene.length else "scene" for scene in prompt.scenes)
        timed = parse_script(" | ".join(marks), rate=rate, chunk=chunk)
        begins, told = [cue.start for cue in timed.cues], timed.frames
    total = told if whole is None else whole
    if any(end <= begin for begin, end in zip(begins, [*begins[1:], total], strict=True)):
        raise PromptError(
            f"prompt {prompt.id!r}: its scenes begin at latent frames {', '.join(map(str, begins))} of {total}; each "
            f"needs a chunk ({chunk}) of its own"
        )
    cues = (Cue(begin, scene.text, scene.boundary) for begin, scene in zip(begins, prompt.scenes, strict=True))
    return Script(tuple(cues), total)
