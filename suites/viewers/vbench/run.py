"""VBench-Long over the videos of a campaign: `python -m suites.viewers.vbench.run FOLDER/films.json`.

Runs in an environment of its own (suites/viewers/vbench/requirements.txt). Reads FOLDER/films.json and writes
FOLDER/views/vbench/ID.json after every dimension of every video, so that a stopped run continues where it was; values
by clip go to FOLDER/views/vbench/clips/ID.json. Several processes share the videos (--shard), never one video.

custom     videos of any prompt: the seven quality dimensions, on clips of 2 s
standard   videos of VBench's own prompts: those of the sixteen dimensions that its list names for a prompt; the list is
           read from a checkout of VBench at a pinned commit. A video of an extended prompt is identified by the prompt
           of VBench that its record names ("vbench"), and scored with that text

The value of a video is the mean over its clips. VBench-Long averages over all clips of all videos instead
(`vbench_scores.averages` gives both). Metrics that cannot be computed are skipped with a hint on what to do.

Paper: VBench++, arXiv:2411.13503.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from harness.errors import CampaignError, HorizonError, did_you_mean, why
from harness.escaping import terminal
from harness.files import own, write_whole
from harness.films.contract import Film, read_films, shard
from harness.films.view_files import OF_FILM, VIEWS, Part, View, add, due, seen
from suites.film_measures.declared import OVER_TIME
from suites.viewers.crew import add_options, placed, spread
from suites.viewers.vbench import dimensions as needs
from suites.viewers.vbench.checkout import Asked, check_checkout, read_prompts
from suites.viewers.vbench.clip_scores import keep_clips, over_time
from suites.viewers.vbench.clips import CUSTOM_SECONDS, ENCODING, Clip, cut, first_frames, plain_name
from suites.viewers.vbench.scores import COMMIT, CONSISTENCY, combined, tables, tables_digest

VIEWER, CLIPS = "vbench", "clips"


class Runner(Protocol):
    """Computes the numbers: `vbench_runner.Package`."""

    def clips(
        self, dimension: str, clips: Sequence[Path], prompt: str, known: Mapping[str, Any], still: bool
    ) -> list[float | None]:
        """Return a dimension's values by clip."""

    def across(self, dimension: str, first_frames: Path) -> float:
        """Return the similarity of clips, from a video of their first frames."""


@dataclass(frozen=True)
class Manner:
    """Settings of a run. prompts: VBench's own, in standard mode; empty in custom mode."""

    mode: str
    device: str
    prompts: Mapping[str, Asked] = field(default_factory=dict)

    def asked(self, film: Film) -> Asked | None:
        """Return the dimensions to measure for a video; None where its prompt is not one of VBench's."""
        return Asked(needs.CUSTOM) if self.mode == "custom" else self.prompts.get(_prompt(film))

    def seconds(self, film: Film) -> float:
        """Return the length of its clips: in standard mode the longest that one of its dimensions requires."""
        asked = self.asked(film)
        if self.mode == "custom" or asked is None:
            return CUSTOM_SECONDS
        return max(float(tables()["clip_seconds"][name]) for name in asked.dimensions)

    def still(self, dimension: str) -> bool:
        """Return whether only nearly still clips are measured: true for flickering in standard mode."""
        return dimension == "temporal_flickering" and self.mode == "standard"

    def record(self, metric: str, film: Film) -> dict[str, Any]:
        """Return everything that could change a number of a metric."""
        return {
            "mode": self.mode,
            # Differs by film in standard mode, where prompts require clips of different lengths.
            OF_FILM: {"clip_seconds": self.seconds(film)},
            "clips": ENCODING,
            "read from": film.path.suffix.removeprefix("."),
            "still_clips_only": self.still(metric),
            "parameters": needs.PARAMETERS.get(metric, {}),
            "weights": needs.fingerprints(metric, self.mode),
            "tables": tables_digest(),
            "checkout": COMMIT if self.mode == "standard" else None,
            "device": self.device,
            "packages": needs.versions(),
        }


class Counts(Counter[str]):
    """Number of skipped metrics of videos by reason, and of measured ones under "". failed: skipped ones that failed,
    and not because something was missing."""

    failed = 0


def look(listing: Path, manner: Manner, runner: Runner, dimensions: Sequence[str], which: str, work: Path) -> Counts:
    """Measure the due metrics of a list of videos. work: a folder for clips, used again by later runs.

    Dimensions are processed one after the other, so that only one dimension's models are held. A failure of one metric
    of one video is printed and stored with both; the others are measured. Raises StoreError for a list or shard that
    cannot be read.
    """
    folder, counts = listing.parent, Counts()
    films = shard(read_films(listing), which)
    for dimension in dimensions:
        for film in films:
            asked = manner.asked(film)
            if asked is not None and dimension not in asked.dimensions:
                continue
            for metric in needs.metrics(dimension):
                try:
                    part = _looked(folder, film, metric, dimension, manner, runner, work)
                # A film's view that cannot be read or written concerns this film only.
                except Exception as error:
                    part = Fault(skipped=why(error))
                if part is None:
                    continue
                counts[part.skipped] += 1
                if isinstance(part, Fault):
                    counts.failed += 1
                    print(f"{film.id} {metric}: {terminal(part.skipped)}", file=sys.stderr, flush=True)
                else:
                    print(f"{film.id} {metric}: {'skipped' if part.skipped else part.samples[-1][1]}", flush=True)
    return counts


class Fault(Part):
    """Reason for a missing number where a number was expected."""


def _looked(
    folder: Path, film: Film, metric: str, dimension: str, manner: Manner, runner: Runner, work: Path
) -> Part | None:
    """Measure a metric of a video and store the result; return None where it was measured before."""
    view, record = seen(folder, VIEWER, film), manner.record(metric, film)
    if not due(view, metric, record):
        return None
    part = _part(folder, view, film, metric, dimension, manner, runner, work)
    known = view.parts.get(metric)
    # An earlier result is never replaced by a reason for skipping.
    if not part.skipped or known is None or known.skipped:
        view = add(folder, VIEWER, view, metric, part, record)
        curve = None if part.skipped else over_time(own(folder, VIEWS, VIEWER, CLIPS), film, metric)
        if curve is not None:
            add(folder, VIEWER, view, f"{metric}{OVER_TIME}", curve, record)
    return part


def _part(
    folder: Path, view: View, film: Film, metric: str, dimension: str, manner: Manner, runner: Runner, work: Path
) -> Part:
    asked = manner.asked(film)
    if asked is None:
        remedy = (
            'correct "vbench" in its prompt\'s record'
            if film.vbench
            else 'name VBench\'s own in its record as "vbench"'
        )
        return Part(skipped=f"{_prompt(film)!r} is none of VBench's prompts; {remedy}, or write --mode custom")
    if missing := needs.remedy(metric, manner.mode):
        return Part(skipped=missing)
    at = film.windows[-1].at_frame
    try:
        if metric in CONSISTENCY:
            return _combined(view, metric, at)
        name = film.id if manner.mode == "custom" else f"{_prompt(film)}-{film.id}"
        clips = cut(film, manner.seconds(film), work, plain_name(name))
        if metric.endswith("_across_clips"):
            across = _across(clips, dimension, runner) if len(clips) > 1 else None
            if across is not None and not math.isfinite(across):
                return Fault(skipped="gave a number that is not finite; its weights may be damaged")
            return Part(((at, across),))
        paths = [clip.path for clip in clips]
        values = runner.clips(dimension, paths, _prompt(film), asked.known, manner.still(dimension))
        there = [value for value in values if value is not None]
        if not all(map(math.isfinite, there)):
            return Fault(skipped="gave a number that is not finite; its weights may be damaged")
        keep_clips(own(folder, VIEWS, VIEWER, CLIPS), film, clips, metric, values)
    # A failure of a package on one video does not stop the others; this metric is due again in the next run.
    except Exception as error:
        return Fault(skipped=why(error))
    return Part(((at, sum(there) / len(there) if there else None),))


def _combined(view: View, dimension: str, at: int) -> Part:
    near, far = (view.parts.get(name, Part(skipped="not looked at")) for name in needs.metrics(dimension)[:2])
    if near.skipped or far.skipped:
        return Part(skipped=f"needs both its parts: {near.skipped or far.skipped}")
    in_clip, across = near.samples[-1][1], far.samples[-1][1]
    return Part(((at, None if in_clip is None else combined(dimension, in_clip, across)),))


def _across(clips: Sequence[Clip], dimension: str, runner: Runner) -> float:
    home = clips[0].path.parent
    video = home.with_name(f"{home.name}-first.mp4")
    if not video.exists():
        write_whole(video, lambda beside: first_frames(clips, beside))
    return runner.across(dimension, video)


def _prompt(film: Film) -> str:
    """Return the prompt by which VBench knows a film: the one that its record names, else that of the model."""
    return film.vbench or (film.acts[0].prompt if film.acts else "")


def _chosen(words: argparse.Namespace) -> tuple[Manner, tuple[str, ...]]:
    allowed = needs.CUSTOM if words.mode == "custom" else needs.STANDARD
    for name in words.dimension or ():
        if name not in allowed:
            hint = did_you_mean(name, allowed)
            raise CampaignError(
                f"--dimension {name}: not one of {words.mode} mode{hint}; there are {', '.join(allowed)}"
            )
    checkout = words.checkout or Path("VBench")
    # Custom mode needs no checkout, because the required tables are part of this package.
    if words.checkout or words.mode == "standard":
        check_checkout(checkout)
    prompts = read_prompts(checkout) if words.mode == "standard" else {}
    return Manner(words.mode, words.device, prompts), tuple(words.dimension or allowed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return exit code 2, with one line, for invalid requests; 1 where a metric of a video failed.
    Metrics whose requirements are missing are reported as skipped, which is not an error."""
    parser = argparse.ArgumentParser(
        prog="python -m suites.viewers.vbench.run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("films", type=Path, help="FOLDER/films.json, which `horizon films FOLDER` writes")
    parser.add_argument("--mode", choices=("custom", "standard"), default="custom")
    parser.add_argument("--checkout", type=Path, help="VBench at the pinned commit, for standard mode; default: VBench")
    parser.add_argument("--dimension", action="append", help="may be repeated; default: all of the mode")
    add_options(parser)
    parser.add_argument("--work", type=Path, help="folder for clips; default: FOLDER/.vbench; may be deleted")
    words = parser.parse_args(arguments)
    try:
        code = spread(words, "suites.viewers.vbench.run", sys.argv[1:] if arguments is None else arguments)
        if code is not None:
            return code
        placed(words)
        manner, dimensions = _chosen(words)
        if find_spec("vbench") is None:
            raise CampaignError(f"vbench is not installed here; in an environment of its own: {needs.INSTALL}")
        from suites.viewers.vbench.runner import Package

        work = (words.work or own(words.films.parent, ".vbench")).absolute()
        counts = look(words.films, manner, Package(words.device, work), dimensions, words.shard, work)
    except HorizonError as error:
        print(terminal(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("horizon: stopped", file=sys.stderr)
        return 130
    print(f"{counts.pop('', 0)} looked at, {counts.total()} skipped")
    for reason, count in counts.most_common():
        print(f"{count} skipped: {terminal(reason)}")
    if counts.failed:
        print(
            f"horizon: {counts.failed} metrics of films failed, as said above; the same command tries them again",
            file=sys.stderr,
        )
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
