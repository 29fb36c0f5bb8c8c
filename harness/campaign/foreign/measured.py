"""One film made elsewhere, read once: its length, its pictures as viewers will read them, and curves of suites."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.errors import HorizonError, PromptError, StoreError, why
from harness.files import digest
from harness.films.reader import Source, examined, frames
from harness.films.upright import Picture
from harness.memory import Boundary
from harness.rollout.script import is_script, parse_script
from harness.suite import QualitySuite, Sample

NEAR = 0.03
"""Part by which a film may be longer or shorter than a usual length and counts as one of that length."""
MMAP_THRESHOLD = -3
"""Parameter of `mallopt`: bytes from which memory is taken from the system for one array alone."""
BLOCK = 8
"""Most pictures that are measured at once."""


@dataclass(frozen=True)
class Job:
    """A film to read.

    Parameters
    ----------
    path
        The file, or folder of pictures.
    text
        Its prompt or script.
    suites
        Names of the suites that may look at it.
    lengths
        Usual lengths in latent frames, to one of which it is counted where it is nearly as long.
    latent
        Seconds of a latent frame.
    rate, seconds, chunk
        As asked for: pictures a second, seconds from the beginning, pictures of a chunk; None where nothing was asked.
    workspace
        A folder for the file that viewers read, where the film's own will not do.
    """

    path: Path
    text: str
    suites: tuple[str, ...]
    lengths: tuple[int, ...]
    latent: float
    rate: Fraction | None
    seconds: float | None
    chunk: int | None
    workspace: Path


@dataclass(frozen=True)
class Measured:
    """What became of a film.

    Parameters
    ----------
    file
        The file that viewers read.
    sha256
        SHA-256 of the film's own file; for a folder, of all its files.
    source
        What the film is.
    pictures
        Number of pictures in the part that counts.
    latents
        Its length in latent frames.
    script, boundaries
        Its scenes: latent frames at which they begin and prompts; how each is entered.
    scenarios
        By suite.
    samples, strip
        The curves, which are the same for all suites, and the filmstrip.
    ends
        Latent frames at which windows end.
    """

    file: Path
    sha256: str
    source: Source
    pictures: int
    latents: int
    script: tuple[tuple[int, str], ...]
    boundaries: tuple[Boundary, ...]
    scenarios: Mapping[str, str]
    samples: Sequence[Sample]
    strip: Mapping[str, Any]
    ends: Sequence[int]


def measured(job: Job) -> Measured | str:
    """Read a film. Return what became of it, or in one line why it cannot be read right."""
    _return_memory()
    try:
        return _measured(job)
    except HorizonError as error:
        return why(error)


def _return_memory() -> None:
    """Let the C library give the memory of freed pictures back at once, and that of the last film, where it is glibc.

    It would otherwise keep them in its heap, in pieces: twice the memory for films of 480 by 832 pixels.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, 2 << 20)
        gc.collect()
        library.malloc_trim(0)


def _measured(job: Job) -> Measured:
    source = examined(job.path, job.rate)
    shown = source.pictures / source.rate
    pictures = source.pictures
    if job.seconds is not None:
        if shown < (1 - NEAR) * job.seconds:
            raise StoreError(f"{job.path}: is {float(shown):.1f} s long, which is less than --seconds {job.seconds:g}")
        pictures = min(pictures, round(job.seconds * source.rate))
    seconds = float(pictures / source.rate)
    latents = latent_frames(seconds, job.latent, job.lengths)
    script, boundaries = _scenes(job, latents)
    suites = {name: registry.load("suites", name)() for name in job.suites}
    takes = {name: suite.film_scenario(boundaries) for name, suite in suites.items() if isinstance(suite, QualitySuite)}
    scenarios = {name: scenario for name, scenario in takes.items() if scenario is not None}
    if not scenarios:
        raise PromptError(
            f"{job.path}: none of {', '.join(job.suites)} looks at a film with {len(script)} "
            f"scene{'s' * (len(script) != 1)}; drift and vbench_long take one, interactive takes several"
        )
    pixels = partial(pictures_of, latents=latents, pictures=pictures)
    # The curves of suites that look at films are the same, so one suite sees the pictures for all.
    onlooker = suites[next(iter(scenarios))].onlooker(latents, float(source.rate), pixels)
    file = job.path if source.plain else job.workspace / "film.mkv"
    writer = _writer(file, source) if not source.plain else None
    given = _each(job.path, source, pictures)
    for start, stop, border in blocks(pictures, [pixels(end) for end in onlooker.ends], job.chunk):
        some = np.stack([next(given) for _ in range(stop - start)])
        block = _tensor(some)
        if writer is not None:
            writer.write(block[0])
        first, last = (math.floor(place * latents / pictures + 1e-9) for place in (start, stop))
        onlooker.see(block, first, last, border)
    if writer is not None:
        # Pictures behind the part that counts are left out of a file that is made anyway.
        writer.close()
    return Measured(
        file=file, sha256=_digest(job.path), source=source, pictures=pictures, latents=latents, script=script,
        boundaries=boundaries, scenarios=scenarios, samples=onlooker.samples(),
        strip=onlooker.pictures(), ends=list(onlooker.ends),
    )  # fmt: skip


def latent_frames(seconds: float, latent: float, lengths: Sequence[int]) -> int:
    """Return the length of a film in latent frames: a usual one where it is nearly that, else rounded, at least 1."""
    exact = seconds / latent
    near = [length for length in lengths if abs(length - exact) <= max(NEAR * length, 1)]
    return min(near, key=lambda length: abs(length - exact)) if near else max(1, round(exact))


def pictures_of(frames: int, latents: int, pictures: int) -> int:
    """Return the pictures of the first `frames` latent frames of a film of `latents` latent frames, by time."""
    return max(0, min(pictures, round(frames * pictures / latents)))


def blocks(pictures: int, ends: Sequence[int], chunk: int | None) -> Iterator[tuple[int, int, bool]]:
    """Yield the first picture of each block, the one after its last, and whether a chunk begins with it.

    No block has more than `BLOCK` pictures, crosses the end of a window, or crosses a chunk border.
    """
    borders = set(range(chunk, pictures, chunk)) if chunk else set()
    stops = sorted({*ends, *borders, pictures} & set(range(1, pictures + 1)))
    start = 0
    for stop in stops:
        while start < stop:
            yield start, min(start + BLOCK, stop), start in borders
            start = min(start + BLOCK, stop)


def _scenes(job: Job, latents: int) -> tuple[tuple[tuple[int, str], ...], tuple[Boundary, ...]]:
    if not is_script(job.text):
        return ((0, job.text),), ("smooth",)
    try:
        cues = parse_script(job.text, rate=1 / job.latent, chunk=1).cues
    except PromptError as error:
        raise PromptError(f"{job.path}: {error}") from None
    if cues[-1].start >= latents:
        raise PromptError(
            f"{job.path}: its last scene begins at {cues[-1].start * job.latent:.1f} s, and it is "
            f"{latents * job.latent:.1f} s long"
        )
    return tuple((cue.start, cue.text) for cue in cues), tuple(cue.boundary for cue in cues)


def _each(path: Path, source: Source, count: int) -> Iterator[Picture]:
    for number, picture in enumerate(frames(path, source)):
        if number >= count:
            return
        yield picture


def _tensor(pictures: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(pictures).permute(0, 3, 1, 2)[None].contiguous().float().div_(255)


def _writer(path: Path, source: Source) -> Any:
    from harness.films.writer import VideoWriter

    return VideoWriter(path, float(source.rate), lossless=True)


def _digest(path: Path) -> str:
    if not path.is_dir():
        return digest(path)
    import hashlib

    whole = hashlib.sha256()
    for file in sorted(each for each in path.iterdir() if each.is_file()):
        whole.update(f"{file.name} {digest(file)}\n".encode())
    return whole.hexdigest()
