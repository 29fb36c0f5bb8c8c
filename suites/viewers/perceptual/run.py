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
import hashlib
import json
import math
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, Protocol

from harness.errors import HorizonError, StoreError, did_you_mean, why
from harness.escaping import terminal
from harness.files import own
from harness.films.contract import Film, check_file, read_films, shard
from harness.films.view_files import OF_FILM, VIEWS, Part, add, due, seen
from suites.viewers.crew import add_options, placed, spread

VIEWER = "perceptual"
METRICS: dict[str, tuple[str, str, str, float | None, float | None]] = {
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
}
"""Name: unit, better direction, description, lowest and highest possible value."""


class Instrument(Protocol):
    """Measures one or more metrics of a film."""

    def remedy(self) -> str | None:
        """Return why it cannot measure and what to do, or None."""

    def protocol(self, metric: str, film: Film) -> dict[str, Any]:
        """Return all settings that could change a number."""

    def look(self, metric: str, film: Film) -> Part:
        """Measure a film. Raises StoreError for a damaged video."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StoreError(f"{message} (--help shows the options)")


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    try:
        asked = _parser().parse_args(words)
        code = spread(asked, "suites.viewers.perceptual.run", sys.argv[1:] if words is None else words)
        if code is not None:
            sys.exit(code)
        placed(asked)
        for name in asked.metric or ():
            if name not in METRICS:
                raise StoreError(f"--metric {name}: unknown{did_you_mean(name, METRICS)}; known: {', '.join(METRICS)}")
        # Kept in the order of declaration, where metrics that share their work are neighbours.
        metrics = [name for name in METRICS if name in (asked.metric or METRICS)]
        films = shard(read_films(asked.films), asked.shard)
        failed = watch(asked.films.parent, films, metrics, instruments(asked, asked.films.parent))
    except HorizonError as error:
        print("horizon: " + terminal(" ".join(str(error).split())), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("horizon: stopped", file=sys.stderr)
        sys.exit(130)
    except Exception:
        # An internal error must not have the exit code of a failed metric.
        traceback.print_exc()
        sys.exit(70)
    if failed:
        print(
            f"horizon: {failed} metrics of films failed, as said above; the same command tries them again",
            file=sys.stderr,
        )
        sys.exit(1)


def instruments(asked: argparse.Namespace, folder: Path) -> dict[str, Instrument]:
    """Return the instrument of each metric. Raises StoreError for a device or a network that does not exist."""
    import torch

    from suites.viewers.perceptual.flow import Flow
    from suites.viewers.perceptual.lpips_distance import Lpips
    from suites.viewers.perceptual.networks import Encoder
    from suites.viewers.perceptual.similarity import Clip, Dino

    if asked.device == "cuda" and not torch.cuda.is_available():
        raise StoreError("--device cuda: torch finds no CUDA device here; leave it out, or use --device cpu")
    # Convolutions of reduced precision would make numbers depend on the device.
    torch.backends.cudnn.allow_tf32 = False
    cache = own(folder, VIEWS, VIEWER, ".cache")
    lpips, flow = Lpips(asked.device, asked.pnet_rand), Flow(asked.device, asked.raft)
    dino = Dino(Encoder("dino", asked.dino, asked.device), cache)
    clip = Clip(Encoder("clip", asked.clip, asked.device), cache)
    return {
        "lpips": lpips,
        **dict.fromkeys(("dino", "recall_dino", "recall_dino_chance"), dino),
        **dict.fromkeys(("clip", "clip_score", "clip_score_scene", "clip_old"), clip),
        **dict.fromkeys(("flow", "dynamic"), flow),
    }


def watch(folder: Path, films: Sequence[Film], metrics: Iterable[str], by: Mapping[str, Instrument]) -> int:
    """Measure films, write the results, and report each film on the error stream. Return how many metrics of films
    failed."""
    remedies = {metric: _remedy(by[metric]) for metric in metrics}
    failed = 0
    for reason in dict.fromkeys(filter(None, remedies.values())):
        names = [metric for metric, each in remedies.items() if each == reason]
        print(f"{', '.join(names)} skipped: {terminal(reason)}", file=sys.stderr)
    for number, film in enumerate(films, 1):
        try:
            told, faults = visit(folder, film, remedies, by)
        # A failure on one film does not stop the others.
        except Exception as error:
            told, faults = why(error), len(remedies)
        failed += faults
        print(f"{number}/{len(films)} {film.id}: {terminal(told)}", file=sys.stderr, flush=True)
    return failed


def _remedy(instrument: Instrument) -> str | None:
    try:
        return instrument.remedy()
    except Exception:
        # The instrument fails again on each film, and is reported there.
        return None


def visit(
    folder: Path, film: Film, remedies: Mapping[str, str | None], by: Mapping[str, Instrument]
) -> tuple[str, int]:
    """Measure every due metric of one film. Return a report in words, and the number of metrics that failed.

    An earlier result is never replaced by a reason for skipping.
    """
    view, looked = seen(folder, VIEWER, film), []
    trouble: dict[str, list[str]] = {}
    sound = False
    for metric, remedy in remedies.items():
        protocol: dict[str, Any] = {}
        part = Part(skipped=remedy or "")
        if remedy is None:
            try:
                protocol = by[metric].protocol(metric, film)
                protocol["read from"] = film.path.suffix.removeprefix(".")
                protocol[OF_FILM] = {**protocol.get(OF_FILM, {}), "asked": _asked(film)}
                if not due(view, metric, protocol):
                    continue
                sound = sound or check(film)
                part = finite(by[metric].look(metric, film))
                looked.append(metric)
            # A failure of a network on one film concerns this metric only.
            except Exception as error:
                part = Part(skipped=why(error))
                trouble.setdefault(part.skipped, []).append(metric)
        known = view.parts.get(metric)
        if known is None or not part.skipped or (known.skipped and known != part):
            view = add(folder, VIEWER, view, metric, part, protocol)
    skipped = (f"{', '.join(metrics)} skipped: {reason}" for reason, metrics in trouble.items())
    told = "; ".join([", ".join(looked) or "nothing to look at", *skipped])
    return told, sum(map(len, trouble.values()))


def finite(part: Part) -> Part:
    """Return the part. Raises StoreError for a number that is not finite, which no reader would accept."""
    for at, value in part.samples:
        if value is not None and not math.isfinite(value):
            raise StoreError(f"gave {value} at latent frame {at}; its weights may be damaged")
    return part


def check(film: Film) -> bool:
    """Return True for a film that matches the list. Raises StoreError for one that does not."""
    from suites.viewers.video_file import footage

    check_file(film)
    frames = footage(film.path).frames
    if frames < film.frames:
        raise StoreError(f"{film.path}: holds {frames} frames of {film.frames}; make the video again")
    return True


def _asked(film: Film) -> str:
    """Return a hash of the measurement that the list requests: the same file may have other windows or prompts."""
    asked = [film.rate, film.reference, [asdict(span) for span in film.windows], [asdict(act) for act in film.acts]]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("python -m suites.viewers.perceptual.run", description="Measure a campaign's finished videos.")
    parser.add_argument("films", type=Path, metavar="FILMS.JSON", help="the list that horizon films FOLDER wrote")
    add_options(parser)
    parser.add_argument(
        "--metric", action="append", metavar="NAME", help=f"one of {', '.join(METRICS)}; may be repeated"
    )
    parser.add_argument("--clip", default="openai/clip-vit-large-patch14", metavar="REPO_OR_FOLDER")
    parser.add_argument("--dino", default="facebook/dinov2-base", metavar="REPO_OR_FOLDER")
    parser.add_argument("--raft", action="store_true", help="optical flow by RAFT only")
    parser.add_argument("--pnet-rand", action="store_true", help="LPIPS with random weights, for tests")
    return parser


if __name__ == "__main__":
    main()
