"""Prompt scripts: scenes with their durations and the kinds of the boundaries between them, as one line of text.

    a fox in the snow [10s] | a fox in a den [10s#] | a fox in the snow [10s@] | the fox sleeps

Scenes are joined by bars. The mark at a scene's end says how long it lasts (`10s`, or `84f` latent frames) and how it
is left: smoothly (nothing), by a hard cut (`#`), or for an earlier scene that returns (`@`). This is Echo-Forcing's
format, of which subtitles behind a semicolon are skipped; latent frames are an addition. Lists of prompts with the
latent frames at which they switch, as LongLive and infinity-RoPE take them, are read from JSON.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from harness.errors import PromptError, did_you_mean, shown
from harness.files import parse_json, read_bytes
from harness.limits import MOST_FRAMES
from harness.memory import Boundary

USUAL_CHUNKS = 21
"""Length of a scene that does not say its own, as released."""
LEFT: dict[str, Boundary] = {"": "smooth", "#": "hardcut", "@": "recall"}
KEYS = ("prompts", "switch_frame_indices", "boundaries", "frames")
"""What a record may say."""
_MARK = re.compile(r"\[([^\[\]]*)\]\s*$")
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([sf])\s*([#@]?)")


@dataclass(frozen=True)
class Cue:
    """A scene of a script: the latent frame at which it begins, its prompt, and how it is entered."""

    start: int
    text: str
    boundary: Boundary = "smooth"


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


def parse_script(text: str, *, rate: float, chunk: int, usual: int = USUAL_CHUNKS) -> Script:
    """Read a script. rate: latent frames a second. usual: chunks of a scene without a mark.

    A scene in seconds gets as many whole chunks as fit, at least one; the last one takes what is left of the sum,
    rounded up to a chunk. Raises PromptError, which says where (scene, and characters from 1).
    """
    check_text(text)
    body = text.partition(";")[0]
    cues: list[Cue] = []
    start, asked, place, boundary = 0, 0.0, 0, LEFT[""]
    scenes = body.split("|")
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
        raise PromptError(
            f"{where}: brackets hold the mark at a scene's end, [10s], [10s#] or [10s@], and nothing else"
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


def read_scripts(path: Path, *, frames: int | None, rate: float, chunk: int) -> list[Script]:
    """Scripts of a file: .txt has a line each; .json and .jsonl have records of `prompts`, `switch_frame_indices` (a
    list, or numbers in a string) and, if not all switches are smooth, `boundaries`. Without indices scenes are equally
    long.

    frames: latent frames of the whole, which records do not say; theirs go before if they have `frames`. Raises
    PromptError, which names file and line.
    """
    try:
        text = read_bytes(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    found = []
    lines = [text] if path.suffix == ".json" else text.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if path.suffix in (".json", ".jsonl"):
                records = parse_json(line)
                several = records if isinstance(records, list) else [records]
                found += [_from_record(record, frames, chunk) for record in several]
            else:
                found.append(parse_script(line, rate=rate, chunk=chunk))
        except ValueError as error:
            raise PromptError(f"{path}, line {number}: {error}") from None
    if not found:
        raise PromptError(f"{path}: no script in it")
    return found


def _from_record(record: Any, frames: int | None, chunk: int) -> Script:
    prompts = record.get("prompts") if isinstance(record, Mapping) else None
    for key in record if isinstance(record, Mapping) else ():
        if key not in KEYS:
            raise PromptError(f"unknown key {key!r}{did_you_mean(key, KEYS)}; allowed: {', '.join(KEYS)}")
    if not isinstance(prompts, Sequence) or isinstance(prompts, str) or not prompts:
        raise PromptError('a record needs "prompts": ["...", "..."]')
    if not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts):
        raise PromptError('"prompts" must be texts that are not empty')
    total = record.get("frames", frames)
    if type(total) is not int or total < chunk * len(prompts):
        raise PromptError(
            f"{len(prompts)} scenes need at least {chunk * len(prompts)} latent frames; given: {shown(total)}"
        )
    if total > MOST_FRAMES:
        raise PromptError(f'"frames" is {shown(total)}; a video has at most {MOST_FRAMES:,} latent frames')
    starts = [0, *_indices(record.get("switch_frame_indices"), len(prompts), total, chunk)]
    if sorted(set(starts)) != starts or starts[-1] >= total:
        raise PromptError(f"scenes begin at latent frames {starts} of {total}; each must begin later than the last")
    kinds = record.get("boundaries", ["smooth"] * (len(prompts) - 1))
    if (
        not isinstance(kinds, list)
        or len(kinds) != len(prompts) - 1
        or not all(kind in get_args(Boundary) for kind in kinds)
    ):
        raise PromptError(
            f'"boundaries" must be {len(prompts) - 1} of {", ".join(get_args(Boundary))}; given: {shown(kinds)}'
        )
    boundaries = cast("list[Boundary]", ["smooth", *kinds])
    return Script(tuple(map(Cue, starts, prompts, boundaries)), total)


def _indices(given: Any, scenes: int, total: int, chunk: int) -> list[int]:
    if given is None:
        return [number * (total // chunk) // scenes * chunk for number in range(1, scenes)]
    parts = given.replace(",", " ").split() if isinstance(given, str) else given
    try:
        found = [int(part) for part in parts if type(part) in (int, str)]
    except (TypeError, ValueError):
        found = []
    if len(found) != scenes - 1:
        raise PromptError(f'"switch_frame_indices" must be {scenes - 1} whole numbers; given: {shown(given)}')
    return found
