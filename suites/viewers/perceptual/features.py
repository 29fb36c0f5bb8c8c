"""Feature vectors of a video's frames, computed once and cached beside the results."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness.files import write_whole
from harness.films.contract import Film
from suites.viewers.perceptual.networks import Encoder
from suites.viewers.video_file import beginning, middles, pictures

BATCH = 16


@dataclass(frozen=True)
class Features:
    """Unit vectors [N, D] of a video's frames [N], whose numbers rise."""

    frames: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def of(self, frames: Iterable[int]) -> NDArray[np.float64]:
        """Return the vectors of some of the frames, [n, D]."""
        return self.vectors[np.searchsorted(self.frames, list(frames))].astype(np.float64)


def features(film: Film, encoder: Encoder, cache: Path, of: Iterable[int] | None = None, kind: str = "") -> Features:
    """Return the vectors of all frames that any metric samples, from the folder `cache` or computed and stored there.

    of, kind: other frames instead, and the name of their sampling. Raises StoreError for a damaged video or network.
    """
    if of is None:
        spans = [(span.start, span.end) for span in film.windows] + [(act.start, act.end) for act in film.acts]
        chosen = {frame for start, end in spans for frame in middles(start, end, film.rate)}
        of = chosen | set(beginning(film.reference, film.rate))
    frames = np.array(sorted(of), dtype=np.int64)
    key = json.dumps({"film": film.sha256, **encoder.identity()}, sort_keys=True)
    path = cache / f"{film.id}-{encoder.short}{kind}.npz"
    kept = _kept(path, key, frames)
    if kept is not None:
        return kept
    rest, found = pictures(film.path, frames.tolist()), []
    while batch := [picture for _, picture in islice(rest, BATCH)]:
        found.append(encoder.encode(torch.from_numpy(np.stack(batch))))
    vectors = np.concatenate(found)
    write_whole(path, lambda beside: np.savez(beside, key=np.array(key), frames=frames, vectors=vectors))
    return Features(frames, vectors)


def _kept(path: Path, key: str, frames: NDArray[np.int64]) -> Features | None:
    try:
        with np.load(path) as file:
            if str(file["key"]) == key and np.array_equal(file["frames"], frames):
                return Features(frames, file["vectors"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        # A missing or damaged file is computed again.
        pass
    return None
