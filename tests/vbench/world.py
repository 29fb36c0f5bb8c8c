"""Small videos, and small random weights in the formats of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.files import digest
from harness.films.contract import Film, Span, write_films
from suites.viewers.vbench.clips import write
from suites.viewers.video_file import Picture

RATE, HEIGHT, WIDTH = 16, 64, 96


def still_and_moving(frames: int, speed: int, seed: int = 0) -> list[Picture]:
    """A smooth random picture that is pushed on by `speed` pixels a frame."""
    coarse = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((16, 16, 1), dtype=np.uint8))
    return [np.roll(picture, speed * number, axis=1) for number in range(frames)]


def listed(folder: Path, films: dict[str, list[Picture]]) -> Path:
    """Write videos, and the list of them."""
    found = []
    for name, pictures in films.items():
        path = folder / f"{name}.mp4"
        folder.mkdir(parents=True, exist_ok=True)
        write(path, pictures, RATE)
        windows = (Span(0, len(pictures), (len(pictures) - 1) // 4 + 1),)
        found.append(Film(name, path, digest(path), "drift", "steady", len(pictures), RATE, 16, windows, ()))
    return write_films(folder, found)


def small_clip(path: Path, embedding: int) -> None:
    """A CLIP of one layer, as TorchScript, with OpenAI's names."""
    import torch
    from clip.model import CLIP

    torch.manual_seed(0)
    model = CLIP(embedding, 224, 1, 64, 32, 77, 49408, 64, 1, 1).eval()
    example = (torch.zeros(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.long))
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        torch.jit.trace(model, example, check_trace=False).save(str(path))


def linear(path: Path) -> None:
    """An aesthetic head."""
    import torch

    torch.manual_seed(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.nn.Linear(768, 1).state_dict(), path)


HUB = """
import torch

dependencies = ["torch"]


class Look(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3 * 16, 8)

    def forward(self, images):
        return self.head(torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1))


def {name}(pretrained=True, **whatever):
    model = Look()
    model.load_state_dict(torch.hub.load_state_dict_from_url("https://nowhere.invalid/{file}", map_location="cpu"))
    return model
"""
"""A hub repository that reads its weights as DINO's and DINOv2's do: out of torch's cache, or from the web."""


def hub(cache: Path, repository: str, weights: str, name: str) -> None:
    """A hub repository and the weights that it loads, at their places under VBENCH_CACHE_DIR."""
    import torch

    (cache / repository).mkdir(parents=True, exist_ok=True)
    (cache / repository / "hubconf.py").write_text(HUB.format(name=name, file=Path(weights).name), encoding="utf-8")
    torch.manual_seed(2)
    head = torch.nn.Linear(48, 8)
    torch.save({f"head.{key}": value for key, value in head.state_dict().items()}, cache / weights)
