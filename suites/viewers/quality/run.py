"""The quality viewer: MUSIQ, HPSv3 and VideoReward over finished videos, by the packages that their authors publish.

    python -m suites.viewers.quality.run FOLDER/films.json

Each model runs where its package is installed; the others are skipped with the command that helps, so that the viewer
may be run once in each environment. Exit codes are those of the perceptual viewer.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import StoreError
from suites.film_measures.declared import QUALITY
from suites.viewers.watching import Instrument, Parser, command, listing

VIEWER = "quality"
METRICS = QUALITY


def instruments(asked: argparse.Namespace, folder: Path) -> Mapping[str, Instrument]:
    """Return the instrument of each metric. Raises StoreError for a device that does not exist."""
    import torch

    from suites.viewers.quality.models import Hpsv3, Musiq, VideoReward

    if asked.device == "cuda" and not torch.cuda.is_available():
        raise StoreError("--device cuda: torch finds no CUDA device here; leave it out, or use --device cpu")
    reward = VideoReward(asked.device, asked.video_reward, asked.video_align)
    return {
        "musiq": Musiq(asked.device, asked.musiq),
        "hpsv3": Hpsv3(asked.device, asked.hpsv3),
        **{name: reward for name in METRICS if name.startswith("video_reward")},
    }


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser("python -m suites.viewers.quality.run", description="Measure a campaign's finished videos.")
    listing(parser, METRICS)
    places = {
        "musiq": "musiq_spaq_ckpt-358bb6af.pth",
        "hpsv3": "HPSv3.safetensors",
        "video_reward": "the folder KwaiVGI/VideoReward",
        "video_align": "a checkout of KwaiVGI/VideoAlign",
    }
    for name, what in places.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="PATH", help=what)
    command(VIEWER, METRICS, parser, instruments, words)


if __name__ == "__main__":
    main()
