"""LPIPS (Zhang et al. 2018): perceptual distance of two pictures by AlexNet's features, at the video's own size."""

from __future__ import annotations

import pickle
import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness.errors import StoreError
from harness.films.contract import Film
from harness.films.view_files import Part
from suites.viewers.perceptual.weights import allow_torchvision, checkpoint, fetch, lacking, sha256, versions
from suites.viewers.video_file import SAMPLING, Picture, beginning, footage, middles, pictures

WEIGHTS = "alexnet-owt-7be5be79.pth"
SMALLEST = 31
"""Smallest side that AlexNet accepts, in pixels; smaller pictures vanish after its second pooling."""


class Lpips:
    """Distance of every window to the beginning of its video, mean over pairs of frames: `lpips`.

    random: draw AlexNet's weights at random, the same ones each time, instead of loading them; for tests.
    """

    def __init__(self, device: str, random: bool = False) -> None:
        self.device, self.random = device, random
        self.weights = checkpoint(WEIGHTS)

    def remedy(self) -> str | None:
        """Return why LPIPS cannot be measured and what to do, or None."""
        lacks = lacking(lpips="lpips", torchvision="torchvision")
        if lacks or self.random or self.weights.is_file():
            return lacks
        return f"needs AlexNet's weights; fetch them with: {fetch(self.weights)}"

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        return {
            "network": "alex",
            "weights": "random" if self.random else sha256(self.weights),
            "versions": versions("torch", "torchvision", "lpips"),
            "device": self.device,
            "sampling": SAMPLING,
        }

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video, and for one that is too small for the network."""
        what = footage(film.path)
        if min(what.height, what.width) < SMALLEST:
            raise StoreError(
                f"{film.path}: {what.width}x{what.height} is too small for LPIPS, which needs {SMALLEST} pixels a side"
            )
        first = beginning(film.reference, film.rate)
        references = torch.cat([self._shown(picture) for _, picture in pictures(film.path, first)])
        windows = {span: middles(span.start, span.end, film.rate) for span in film.windows}
        found: dict[int, list[float]] = {}
        for number, picture in pictures(film.path, (frame for frames in windows.values() for frame in frames)):
            others = references[[frame != number for frame in first]]
            found[number] = self._distances(self._shown(picture), others) if len(others) else []
        means = {span: [value for frame in frames for value in found[frame]] for span, frames in windows.items()}
        return Part(
            tuple(
                (span.at_frame, round(sum(values) / len(values), 6) if values else None)
                for span, values in means.items()
            )
        )

    @cached_property
    def network(self) -> Any:
        """Return LPIPS on its device."""
        allow_torchvision()
        import lpips

        # The library requests AlexNet in a way that torchvision warns about.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
            torch.manual_seed(0)
            try:
                return lpips.LPIPS(net="alex", pnet_rand=self.random, verbose=False).to(self.device)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                reason = " ".join(str(error).split())[:200]
                raise StoreError(f"{self.weights}: not AlexNet's weights ({reason}); fetch them anew") from None

    def _shown(self, picture: Picture) -> Tensor:
        """Return a picture in the network's format, [1, 3, H, W] in -1..1."""
        return torch.from_numpy(picture).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1

    @torch.inference_mode()
    def _distances(self, picture: Tensor, references: Tensor) -> list[float]:
        distances: list[float] = self.network(picture.expand_as(references), references).flatten().tolist()
        return distances
