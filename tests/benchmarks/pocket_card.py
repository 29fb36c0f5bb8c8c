"""Measurements of the shipped pocket: the figures and the filmstrips of docs/pocket.md.

`python -m tests.benchmarks.pocket_card` prints all figures as JSON, `... pocket_card films` draws the filmstrips into
docs/pocket/; it takes some minutes on two cores.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.memory import Strategy
from harness.pocket.language import COLOURS, Saying
from harness.pocket.preset import codec, pocket, probe
from harness.pocket.probe import Probe
from harness.pocket.readout import JUDGED, Verdict, judge, play, true_values
from harness.pocket.training.probe_data import (
    Plate,
    blended,
    blur,
    covered,
    faded,
    meaningless,
    noised,
    shifted,
    truths,
)
from harness.pocket.world import SPEEDS, Clip, Scene, look, script
from harness.registry import parse_strategy
from reports.plots.strips import filmstrip
from reports.statistics.bootstrap import interval

CLIPS = 256
MEMORIES = ("full", "sliding_window", "attention_sink", "infinity_rope", "memrope")
BATCH = 64
FOLDER = Path(__file__).parents[2] / "docs/pocket"


def from_text(backbone: Backbone, probe: Probe, clips: int = CLIPS) -> dict[str, Any]:
    """Measure 21 frames from text alone: accuracy of stated attributes, agreement of the others, speed."""
    seeds = range(clips)
    said = [_half(seed) for seed in seeds]
    made, truth = _played(backbone, _strategy("full"), [(Scene(0, Saying(each)),) for each in said], seeds, 21)
    whole = judge(probe, made)
    meant = true_values(truth, 0)
    named = torch.tensor([[name in each for name in JUDGED] for each in said])
    spoken = named & (meant >= 0)
    early, late = judge(probe, made[:, :3]).whole, judge(probe, made[:, 18:]).whole
    halves = [judge(probe, part).whole for part in (made[:, :11], made[:, 10:])]
    same = torch.cat(((early == late)[:, :6] & (late[:, :6] >= 0), (halves[0] == halves[1])[:, 6:]), 1).float()
    moving = spoken[:, JUDGED.index("speed")] & spoken[:, JUDGED.index("motion")]
    asked = torch.tensor(SPEEDS)[meant[:, JUDGED.index("speed")].clamp(min=0)]
    off = (whole.speed / asked - 1).abs()[moving]
    return {
        "said": _by_name(_right(whole, meant), spoken),
        "unsaid_agrees": _by_name(same, ~named),
        "speed_within_a_fifth": float((off <= 0.2).float().mean()),
    }


def continued(backbone: Backbone, probe: Probe, clips: int = CLIPS) -> dict[str, float]:
    """Measure the share of each attribute that the 15 frames after a true first chunk keep; the prompt names none."""
    seeds = range(clips)
    made, truth = _played(backbone, _strategy("full"), [script("a thing")] * clips, seeds, 18, given=3)
    seen, meant = judge(probe, made[:, 3:]), true_values(truth, 0)
    return _by_name(_right(seen, meant), meant >= 0)


def switched(backbone: Backbone, probe: Probe, clips: int = CLIPS) -> dict[str, dict[str, float]]:
    """Measure the share of newly stated attributes 21 frames after a prompt switch at frame 21, with a window of 12."""
    seeds = range(clips)
    answers = {}
    for kind in ("smooth", "hardcut"):
        scripts = []
        for seed in seeds:
            old, new = look(seed), _changed(seed)
            scripts.append((Scene(0, Saying(old)), Scene(21, Saying(new, kind))))  # type: ignore[arg-type]
        made, truth = _played(backbone, _strategy("sliding_window.window=12"), scripts, seeds, 42)
        seen, meant = judge(probe, made[:, 36:]), true_values(truth, 41)
        new = torch.tensor([[name in scenes[1].saying.said for name in JUDGED] for scenes in scripts]) & (meant >= 0)
        answers[kind] = _by_name((seen.whole == meant).float(), new)
    return answers


def memories(
    backbone: Backbone, probe: Probe, clips: int = 96, names: Sequence[str] = MEMORIES, frames: int = 240
) -> dict[str, Any]:
    """Measure which memory still shows the truth of a first chunk at frame 36, at the last frames, and after a curtain
    of 30 frames; the prompt names no attribute."""
    seeds = range(1000, 1000 + clips)
    steady = [script("a thing")] * clips
    hidden = [script("a thing", (6, "a curtain"), (36, "back to a thing"))] * clips
    answers: dict[str, Any] = {}
    for scenario, scripts, length, spans in (
        ("steady", steady, frames, {"36": (33, 36), str(frames): (frames - 6, frames)}),
        ("curtain", hidden, 48, {"48": (42, 48)}),
    ):
        kept: dict[str, dict[str, Tensor]] = {span: {} for span in spans}
        for name in names:
            made, truth = _played(backbone, _strategy(name), scripts, seeds, length, given=3)
            for span, (first, last) in spans.items():
                seen, meant = judge(probe, made[:, first:last]), true_values(truth, 0)
                kept[span][name] = (seen.whole == meant)[:, :6].float()
        for span, scores in kept.items():
            answers[f"{scenario} {span}"] = {
                "kept": {name: _by_name(each, torch.ones_like(each).bool()) for name, each in scores.items()},
                "pairs": {
                    f"{a} - {b}": _interval(scores[a].mean(1) - scores[b].mean(1))
                    for a, b in itertools.combinations(names, 2)
                },
            }
    return answers


def examined(probe: Probe, count: int = 4000) -> dict[str, Any]:
    """Measure the probe on held-out pictures: accuracy (unsure counts as wrong), and the share of unsure answers."""
    generator = torch.Generator().manual_seed(0)
    seeds = range(100_000, 100_000 + count)
    coded = truths(seeds, codec())
    ones = torch.ones(count)
    sets = {
        "true": truths(seeds),
        "through the codec": coded,
        "blurred (0.8 px)": _with(coded, blur(coded.pictures, 0.8 * ones)),
        "noised (0.1)": _with(coded, noised(coded.pictures, 0.1 * ones, generator)),
        "faded (to 0.65)": _with(coded, faded(coded.pictures, 0.65 * ones)),
        "colours shifted (0.07)": _with(
            coded, shifted(coded.pictures, 0.07 * (2 * torch.rand(count, 3, generator=generator) - 1).sign())
        ),
        "blended (half and half)": blended(coded, 0.5 * ones),
        "behind a curtain": covered(coded, ones),
        "noise and blanks": meaningless(count, generator),
    }
    answers: dict[str, Any] = {}
    for name, plate in sets.items():
        reading = probe.read(plate.pictures)
        readable = plate.values >= 0
        answers[name] = {
            "right": _by_name((reading.values == plate.values).float(), readable),
            "unsure_of_unreadable": float((reading.values < 0)[~readable].float().mean())
            if (~readable).any()
            else None,
            "wrong_answers": float(((reading.values != plate.values) & (reading.values >= 0))[readable].float().mean()),
            "place_off_px": float((reading.places - plate.places).norm(dim=1)[plate.present].mean()),
            "presence": float((reading.present == plate.present).float().mean()),
        }
    return answers


def films(backbone: Backbone, folder: Path = FOLDER) -> dict[str, str]:
    """Draw filmstrips of the truth, continuations and long rollouts."""
    seeds, steady = range(2000, 2006), [script("a thing")] * 6
    with_words = [(Scene(0, Saying(look(seed))),) for seed in seeds]
    full = _strategy("full")
    continued, truth = _played(backbone, full, steady, seeds, 36, given=3)
    told, _ = _played(backbone, full, with_words, seeds, 36)
    times = [f"{frame / 4:g} s" for frame in range(0, 36, 3)]
    rows = [each for pair in zip(truth.pixels[:, ::3], continued[:, ::3], strict=True) for each in pair]
    filmstrip(rows, folder / "continued.png", times, ["truth", "from its first chunk"] * 6)
    filmstrip(list(told[:, ::3]), folder / "told.png", times, [scenes[0].prompt for scenes in with_words])
    for frames in (84, 960):
        every = frames // 12
        rows, labels = [], []
        for name in MEMORIES[1:] if frames > 240 else MEMORIES:
            made, truth = _played(backbone, _strategy(name), steady[:2], seeds[:2], frames, given=3)
            rows += list(made[:, ::every])
            labels += [name, ""]
        rows, labels = [*truth.pixels[:, ::every], *rows], ["truth", "", *labels]
        filmstrip(rows, folder / f"{frames}.png", [f"{frame / 4:g} s" for frame in range(0, frames, every)], labels)
    hidden = [script("a thing", (6, "a curtain"), (36, "back to a thing"))] * 2
    rows, labels = [], []
    for name in MEMORIES:
        made, truth = _played(backbone, _strategy(name), hidden, seeds[:2], 48, given=3)
        rows, labels = [*rows, *made[:, ::4]], [*labels, name, ""]
    rows, labels = [*truth.pixels[:, ::4], *rows], ["truth", "", *labels]
    filmstrip(rows, folder / "curtain.png", [f"{frame / 4:g} s" for frame in range(0, 48, 4)], labels)
    return {"films": str(folder)}


def _played(
    backbone: Backbone,
    strategy: Strategy,
    scripts: Sequence[Sequence[Scene]],
    seeds: range,
    frames: int,
    given: int = 0,
) -> tuple[Tensor, Clip]:
    """`play` in batches."""
    parts = []
    for first in range(0, len(seeds), BATCH):
        here = slice(first, first + BATCH)
        parts.append(play(backbone, strategy, scripts[here], seeds[here], frames, given=given))
    made = torch.cat([pixels for pixels, _ in parts])
    fields = ("pixels", "looks", "places", "cover")
    truth = Clip(
        *(torch.cat([getattr(clip, name) for _, clip in parts]) for name in fields),
        tuple(itertools.chain.from_iterable(clip.scripts for _, clip in parts)),
    )
    return made, truth


def _strategy(text: str) -> Strategy:
    return parse_strategy(text)[1]


def _half(seed: int) -> dict[str, str]:
    """Return a random half of the attributes of a look."""
    coins = np.random.Generator(np.random.Philox(key=[seed, 99])).random(8) < 0.5
    return {name: value for (name, value), said in zip(look(seed).items(), coins, strict=True) if said}


def _changed(seed: int) -> dict[str, str]:
    """Return new values of three attributes; new colours differ from the old ones."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 98]))
    old, new = look(seed), look(seed, 1)
    names = rng.choice([name for name in old if name != "speed"], 3, replace=False)
    free = list(rng.permutation([colour for colour in COLOURS if colour not in old.values()]))
    return {
        name: str(free.pop()) if name in ("colour", "ground", "accent") else new[name] for name in old if name in names
    }


def _interval(differences: Tensor) -> list[float]:
    """Return the mean of paired differences, one a clip, with its 95 % interval: [mean, low, high]."""
    found = interval(differences.numpy(), np.arange(len(differences)))
    return [round(x, 4) for x in (found.mean, found.low, found.high)]


def _with(plate: Plate, pictures: Tensor) -> Plate:
    return Plate(pictures.clamp(0, 1), plate.values, plate.places, plate.present)


def _right(seen: Verdict, meant: Tensor) -> Tensor:
    """Return the share of frames that show the truth, [B, 8]; motion and speed are right or wrong for all frames
    together."""
    return torch.cat(((seen.each == meant[:, None, :6]).float().mean(1), (seen.whole == meant)[:, 6:].float()), 1)


def _by_name(values: Tensor, counted: Tensor) -> dict[str, float]:
    """Return the mean of each attribute's column over the rows that count."""
    return {
        name: round(float(values[:, column][counted[:, column]].mean()), 4)
        for column, name in enumerate(JUDGED[: values.shape[1]])
        if counted[:, column].any()
    }


def main() -> None:
    """Measure everything, or the parts named on the command line, and print it."""
    backbone, reader = pocket(), probe()
    parts = {
        "probe": lambda: examined(reader),
        "from_text": lambda: from_text(backbone, reader),
        "continued": lambda: continued(backbone, reader),
        "switched": lambda: switched(backbone, reader),
        "memories": lambda: memories(backbone, reader),
        "films": lambda: films(backbone),
    }
    chosen = sys.argv[1:] or [name for name in parts if name != "films"]
    with torch.inference_mode():
        print(json.dumps({name: parts[name]() for name in chosen}, indent=1))


if __name__ == "__main__":
    main()
