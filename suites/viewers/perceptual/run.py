"""The perceptual viewer: LPIPS, DINOv2, CLIP and optical flow over finished videos.

    python -m suites.viewers.perceptual.run FOLDER/films.json

It needs none of Horizon's other dependencies, and runs in an environment of its own (perceptual.txt). Every metric of
every video is written as soon as it is computed; results that exist, by the same protocol, are not computed again.
A failure of one metric of one video is printed and stored with both, and the others are measured.
Exit codes: 0 done (metrics whose files or packages are missing were skipped), 1 a metric of a video failed, 2 a
mistake in the request (one line on the error stream), 130 stopped by Ctrl-C, 70 a mistake of Horizon's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import StoreError
from harness.files import own
from harness.films.contract import Film
from harness.films.view_files import VIEWS
from suites.film_measures.declared import STRUCTURE, Declared
from suites.viewers import watching
from suites.viewers.watching import Instrument, Parser, command, listing

VIEWER = "perceptual"
METRICS: dict[str, Declared] = {
    "lpips": ("1", "lower", "LPIPS (AlexNet) to the first seconds", 0, None),
    "dino": ("1", "higher", "cosine of DINOv2 features to the first seconds", -1, 1),
    "recall_dino": ("1", "higher", "cosine of DINOv2 features of a recalled scene to the first scene", -1, 1),
    "recall_dino_chance": ("1", "neither", "the same of the other scene, shown just before it", -1, 1),
    "clip": ("1", "higher", "cosine of CLIP image features to the first seconds", -1, 1),
    "clip_score": ("points", "higher", "100 cosines of frames and the prompt of their scene, by CLIP", 0, 100),
    "clip_score_scene": ("points", "higher", "the same over a whole scene, of videos with several", 0, 100),
    "clip_old": ("points", "lower", "a scene's frames and the prompt before: what leaks of the old scene", 0, 100),
    "flow": ("px", "neither", "length of optical flow in an eighth of a second, its longest 5 %", 0, None),
    "dynamic": ("1", "higher", "whether anything moves, by VBench's rule: a frozen video cannot win", 0, 1),
    **STRUCTURE,
}
"""Name: unit, better direction, description, lowest and highest possible value."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    command(VIEWER, METRICS, _parser(), instruments, words)


def instruments(asked: argparse.Namespace, folder: Path) -> dict[str, Instrument]:
    """Return the instrument of each metric. Raises StoreError for a device or a network that does not exist."""
    import torch

    from suites.viewers.perceptual.chunk_flow import ChunkFlow
    from suites.viewers.perceptual.flow import Flow
    from suites.viewers.perceptual.lpips_distance import Lpips
    from suites.viewers.perceptual.networks import Encoder
    from suites.viewers.perceptual.similarity import Clip, Dino
    from suites.viewers.perceptual.structure import ClipStructure, Structure

    if asked.device == "cuda" and not torch.cuda.is_available():
        raise StoreError("--device cuda: torch finds no CUDA device here; leave it out, or use --device cpu")
    # Convolutions of reduced precision would make numbers depend on the device.
    torch.backends.cudnn.allow_tf32 = False
    cache = own(folder, VIEWS, VIEWER, ".cache")
    lpips, flow = Lpips(asked.device, asked.pnet_rand), Flow(asked.device, asked.raft)
    dino = Dino(Encoder("dino", asked.dino, asked.device), cache)
    clip = Clip(Encoder("clip", asked.clip, asked.device), cache)
    made: dict[str, Instrument] = {
        "lpips": lpips,
        **dict.fromkeys(("dino", "recall_dino", "recall_dino_chance"), dino),
        **dict.fromkeys(("clip", "clip_score", "clip_score_scene", "clip_old"), clip),
        **dict.fromkeys(("flow", "dynamic"), flow),
        "chunk_flow": ChunkFlow(flow),
    }
    lasting, shown = Structure(dino.encoder, cache), ClipStructure(clip, cache)
    return made | {name: lasting if "dino" in name else shown for name in STRUCTURE if name not in made}


def watch(folder: Path, films: Sequence[Film], metrics: Iterable[str], by: Mapping[str, Instrument]) -> int:
    """Measure films as `suites.viewers.watching.watch` does, as this viewer."""
    return watching.watch(folder, films, metrics, by, VIEWER)


def _parser() -> Parser:
    parser = Parser("python -m suites.viewers.perceptual.run", description="Measure a campaign's finished videos.")
    listing(parser, METRICS)
    parser.add_argument("--clip", default="openai/clip-vit-large-patch14", metavar="REPO_OR_FOLDER")
    parser.add_argument("--dino", default="facebook/dinov2-base", metavar="REPO_OR_FOLDER")
    parser.add_argument("--raft", action="store_true", help="optical flow by RAFT only")
    parser.add_argument("--pnet-rand", action="store_true", help="LPIPS with random weights, for tests")
    return parser


if __name__ == "__main__":
    main()
