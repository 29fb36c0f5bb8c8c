"""Prompt scripts: scenes with their durations and the kinds of the boundaries between them, as one line of text.

    a fox in the snow [10s] | a fox in a den [10s#] | a fox in the snow [10s@] | the fox sleeps

Scenes are joined by bars. The mark at a scene's end says how long it lasts (`10s`, or `84f` latent frames) and how it
is left: smoothly (nothing), by a hard cut (`#`), or for an earlier scene that returns (`@`). This is Echo-Forcing's
format, with latent frames as an addition, and without its subtitles: a semicolon is part of a prompt, and subtitles
behind one have to be removed before (`cut -d';' -f1 FILE`).

A text that nobody calls a script (what is typed for `horizon sample`, a line of a .txt file) is one only where it has a
mark. Without one it is a single prompt, bars and semicolons included. `suites.prompts` reads files of prompts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from harness.errors import PromptError
from harness.limits import MOST_FRAMES
from harness.memory import Boundary

Encode = Callable[[Sequence[str]], Tensor]
"""Prompts to text embeddings [prompts, L, text_dim]."""
USUAL_CHUNKS = 21
"""Length of a scene that does not say its own, as released."""
LEFT: dict[str, Boundary] = {"": "smooth", "#": "hardcut", "@": "recall"}
_MARK = re.compile(r"\[([^\[\]]*)\]\s*$")
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([sf])\s*([#@]?)")
_SUBTITLES = re.compile(r"\]\s*;")
# Also marks that are misspelt ([10 sec], [10S], [10,5s], [1m], [10s!]) or that something follows ([10s]., subtitles):
# such a text is refused, not drawn as it is.
_MARKED = re.compile(
    r"\[\s*[-+]?[\d.,]+(?:e[-+]?\d+)?\s*(?:s|f|ms|m|h|secs?|seconds?|mins?|minutes?|hours?|frames?)\b[^\w\[\]|]*\]"
    r"[^\w\[\]|;]*(?=$|[|;])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Cue:
    """What a video is to show from a latent frame on.

    Parameters
    ----------
    start
        The latent frame.
    text
        The prompt.
    boundary
        How the scene is entered; the first one of a video has nothing before it and is "smooth".
    """

    start: int
    text: str
    boundary: Boundary = "smooth"


@dataclass(frozen=True, eq=False)
class EncodedCue:
    """A cue of all rows of a batch, as a model reads it.

    Parameters
    ----------
    start
        The latent frame.
    embeddings
        Embeddings of the prompts, [B, L, text_dim].
    boundary
        How the scene is entered, the same in all rows.
    texts
        The prompts, one a row; None where there are embeddings only.
    """

    start: int
    embeddings: Tensor
    boundary: Boundary = "smooth"
    texts: Sequence[str] | None = None


@dataclass(frozen=True)
class Script:
    """Scenes in order, the first at latent frame 0, and the latent frames of the whole."""

    cues: tuple[Cue, ...]
    frames: int

    def __str__(self) -> str:
        """In the format that `parse_script` reads, durations in latent frames."""
        marks = {boundary: mark for mark, boundary in LEFT.items()}
        ends = [*(cue.start for cue in self.cues[1:]), self.frames]
        left = [*(marks[cue.boundary] for cue in self.cues[1:]), ""]
        return " | ".join(
            f"{cue.text} [{end - cue.start}f{mark}]" for cue, end, mark in zip(self.cues, ends, left, strict=True)
        )


def encoded(scripts: Sequence[Sequence[Cue]], encode: Encode) -> list[EncodedCue]:
    """Return the cues of a batch with their embeddings.

    Parameters
    ----------
    scripts
        The cues of each row.
    encode
        Prompts to text embeddings; asked once a scene, for all rows.

    Returns
    -------
    list of EncodedCue
        One a scene. The first one is the prompt of a rollout, the others are its switches.

    Raises
    ------
    PromptError
        For rows whose scenes do not begin at the same frames, or are not entered in the same way.
    """
    turns = {tuple((cue.start, cue.boundary) for cue in cues) for cues in scripts}
    if len(turns) != 1:
        raise PromptError(f"scripts of one batch must switch at the same frames and in the same way, not {turns}")
    texts = [[cue.text for cue in scene] for scene in zip(*scripts, strict=True)]
    return [
        EncodedCue(start, encode(said), boundary, said) for (start, boundary), said in zip(*turns, texts, strict=True)
    ]


def is_script(text: str) -> bool:
    """Return whether a text has scenes: whether a mark, such as [10s], ends one of them."""
    return _MARKED.search(text.rstrip()) is not None


def parse_script(text: str, *, rate: float, chunk: int, usual: int = USUAL_CHUNKS) -> Script:
    """Read a script. rate: latent frames a second. usual: chunks of a scene without a mark.

    A scene in seconds gets as many whole chunks as fit, at least one; the last one takes what is left of the sum,
    rounded up to a chunk. Raises PromptError, which says where (scene, and characters from 1).
    """
    check_text(text)
    cues: list[Cue] = []
    start, asked, place, boundary = 0, 0.0, 0, LEFT[""]
    scenes = text.split("|")
    for number, scene in enumerate(scenes, 1):
        prompt, frames, left = _scene(scene, f"scene {number} (from character {place + 1})", rate, chunk, usual)
        if left and number == len(scenes):
            raise PromptError(
                f"scene {number} (from character {place + 1}): it ends with {left!r}, and no scene follows"
            )
        cues.append(Cue(start, prompt, boundary))
        asked += frames
        whole = max(1, int(frames / chunk + 1e-9)) * chunk
        start, boundary = start + whole, LEFT[left]
        place += len(scene) + 1
    total = math.ceil(asked / chunk - 1e-9) * chunk
    return Script(tuple(cues), max(start, total))


def check_text(text: str) -> None:
    """Raise PromptError for a text that no file can keep: with a control character, or with half of a character."""
    for place, letter in enumerate(text, 1):
        if unicodedata.category(letter) in ("Cc", "Cs") and not letter.isspace():
            raise PromptError(f"character {place} is {letter!a}, which is no part of a text; remove it")


def _scene(scene: str, where: str, rate: float, chunk: int, usual: int) -> tuple[str, float, str]:
    """A scene's prompt, its latent frames, and how it is left."""
    mark = _MARK.search(scene)
    prompt = (scene[: mark.start()] if mark else scene).strip()
    if not prompt:
        raise PromptError(f"{where}: no prompt; write for instance: a fox in the snow [10s#] | a fox in a den")
    if "[" in prompt or "]" in prompt:
        subtitles = "; remove subtitles behind the semicolon: cut -d';' -f1 FILE" if _SUBTITLES.search(prompt) else ""
        raise PromptError(
            f"{where}: brackets hold the mark at a scene's end, [10s], [10s#] or [10s@], and nothing else{subtitles}"
        )
    if mark is None:
        return prompt, usual * chunk, ""
    found = _LENGTH.fullmatch(mark[1].strip())
    if found is None or float(found[1]) <= 0:
        raise PromptError(
            f"{where}: cannot read the mark [{mark[1]}]; write seconds or latent frames above 0 and then nothing, "
            "# (hard cut) or @ (recall): [10s], [10s#], [84f@]"
        )
    length, unit, left = found.groups()
    frames = float(length) * (rate if unit == "s" else 1)
    if not frames <= MOST_FRAMES:
        raise PromptError(f"{where}: [{mark[1][:40]}]: a scene has at most {MOST_FRAMES:,} latent frames")
    if unit == "f" and "." in length:
        raise PromptError(f"{where}: [{mark[1]}]: latent frames are whole numbers")
    return prompt, frames, left
