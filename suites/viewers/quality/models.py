"""The models of the quality viewer. Each reads a weight file that the user names or fetched; nothing is downloaded.

A picture a second is measured, the middle one. Values of a window are means over its pictures. VideoReward was trained
on videos of a few seconds: it sees the first and the last `SECONDS` of a film, each as a video.
"""

from __future__ import annotations

import importlib
import math
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np

from harness.caches import with_home
from harness.errors import StoreError
from harness.films.contract import Film
from harness.films.view_files import OF_FILM, Part
from suites.viewers.parts import rounded
from suites.viewers.perceptual.weights import allow_torchvision, lacking, sha256, versions
from suites.viewers.video_file import Picture, middles, pictures

SECONDS = 5.0
MUSIQ_URL = "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth"
CACHE = "~/.cache/horizon/quality"
"""Folder in which weights are looked for that no option names."""
SAMPLING = "the middle frame of each second"


class Model(ABC):
    """A model that is loaded once, from one weight file or folder."""

    packages: ClassVar[Mapping[str, str]]
    """Modules that it needs, each with its distribution."""
    fetch: ClassVar[str]
    """The command that fetches its weights to `PATH`."""
    option: ClassVar[str]
    """Name of the option that names its weights."""

    def __init__(self, device: str, weights: Path | None) -> None:
        self.device, self.weights = device, weights or with_home(CACHE, "HOME") / self.option

    def remedy(self) -> str | None:
        """Return why it cannot measure and what to do, or None."""
        if lacking(**self.packages):
            names = self.packages.values()
            return f"needs {' and '.join(names)}; in an environment of its own: pip install {' '.join(names)}"
        if self.weights.exists():
            return None
        command = self.fetch.replace("PATH", str(self.weights))
        return f"needs its weights; name them with --{self.option}, or fetch them with: {command}"

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""
        files = sorted(self.weights.rglob("*")) if self.weights.is_dir() else [self.weights]
        return {
            "weights": {each.name: sha256(each) for each in files if each.is_file()},
            "versions": versions("torch", *self.packages.values()),
            "device": self.device,
            "sampling": SAMPLING,
            OF_FILM: {"prompts": len({act.prompt for act in film.acts})},
        }

    @abstractmethod
    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""


class OfPictures(Model):
    """A model that gives a number for a picture, and the prompt of its scene."""

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""
        windows = {span: middles(span.start, span.end, film.rate) for span in film.windows}
        values: dict[int, float] = {}
        for number, picture in pictures(film.path, {frame for frames in windows.values() for frame in frames}):
            prompt = next((act.prompt for act in reversed(film.acts) if act.start <= number), "")
            values[number] = self.value(picture, prompt)
        means = [float(np.mean([values[frame] for frame in frames])) for frames in windows.values()]
        return Part(tuple((span.at_frame, rounded(mean)) for span, mean in zip(windows, means, strict=True)))

    @abstractmethod
    def value(self, picture: Picture, prompt: str) -> float:
        """Return the number of a picture [H, W, 3]."""


class Musiq(OfPictures):
    """MUSIQ (arXiv:2108.05997) trained on SPAQ, as VBench's imaging quality uses it, at the picture's own size."""

    packages: ClassVar = {"pyiqa": "pyiqa"}
    fetch = f"curl --fail --location --create-dirs --output PATH {MUSIQ_URL}"
    option = "musiq"

    @cached_property
    def network(self) -> Any:
        """The network on its device."""
        allow_torchvision()
        return importlib.import_module("pyiqa").create_metric(
            "musiq-spaq", device=self.device, pretrained_model_path=str(self.weights)
        )

    def value(self, picture: Picture, prompt: str) -> float:
        import torch

        shown = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            return float(self.network(shown.to(self.device)))


class Hpsv3(OfPictures):
    """HPSv3 (arXiv:2508.03789): the mean of the preference that it predicts."""

    packages: ClassVar = {"hpsv3": "hpsv3"}
    fetch = "hf download MizzenAI/HPSv3 HPSv3.safetensors --local-dir PATH.d && mv PATH.d/HPSv3.safetensors PATH"
    option = "hpsv3"

    @cached_property
    def network(self) -> Any:
        """The published inferencer."""
        allow_torchvision()
        return importlib.import_module("hpsv3").HPSv3RewardInferencer(
            device=self.device, checkpoint_path=str(self.weights)
        )

    def value(self, picture: Picture, prompt: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture.png"
            _save(path, picture)
            (found,) = self.network.reward(prompts=[prompt], image_paths=[str(path)])
        return float(found[0])


class VideoReward(Model):
    """VideoReward (arXiv:2501.13918) by VideoAlign's code, normalised as published: `video_reward_vq`, `_mq`, `_ta`."""

    packages: ClassVar = {"qwen_vl_utils": "qwen-vl-utils", "peft": "peft", "transformers": "transformers"}
    fetch = "hf download KwaiVGI/VideoReward --local-dir PATH"
    option = "video-reward"

    def __init__(self, device: str, weights: Path | None, checkout: Path | None) -> None:
        super().__init__(device, weights)
        self.checkout = checkout or Path("VideoAlign")
        self._last: tuple[Film, dict[int, Mapping[str, float]]] | None = None

    def remedy(self) -> str | None:
        """Return why it cannot measure and what to do, or None."""
        if not (self.checkout / "inference.py").is_file():
            return (
                "needs VideoAlign's code; name it with --video-align, or fetch it with: git clone "
                "https://github.com/KwaiVGI/VideoAlign"
            )
        return super().remedy()

    @cached_property
    def network(self) -> Any:
        """The published inferencer."""
        import torch

        allow_torchvision()
        sys.path.insert(0, str(self.checkout.resolve()))
        made = importlib.import_module("inference").VideoVLMRewardInference
        return made(str(self.weights), device=self.device, dtype=torch.bfloat16)

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""
        if self._last is None or self._last[0] != film:
            self._last = film, self._ends(film)
        key = metric.removeprefix("video_reward_").upper()
        return Part(tuple((at, rounded(float(found[key]))) for at, found in self._last[1].items()))

    def _ends(self, film: Film) -> dict[int, Mapping[str, float]]:
        count = min(film.frames, math.ceil(SECONDS * film.rate))
        windows = [(0, count)] + ([(film.frames - count, film.frames)] if film.frames >= 2 * count else [])
        found = {}
        for start, end in windows:
            prompt = next((act.prompt for act in reversed(film.acts) if act.start <= start), "")
            at = max(1, round(film.windows[-1].at_frame * end / film.frames))
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "part.mp4"
                _write(path, [picture for _, picture in pictures(film.path, range(start, end))], film.rate)
                (rewards,) = self.network.reward([str(path)], [prompt], use_norm=True)
            found[at] = rewards
        return found


def _save(path: Path, picture: Picture) -> None:
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "rgb24"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def _write(path: Path, shown: Sequence[Picture], rate: float) -> None:
    if not shown:
        raise StoreError(f"{path}: no pictures")
    from suites.viewers.vbench.clips import write

    write(path, np.stack(shown), rate)
