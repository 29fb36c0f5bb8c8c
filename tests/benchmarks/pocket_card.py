"""Measurements of the shipped pocket: `nox -s card` (or `python -m tests.benchmarks.pocket_card`) prints both tables of
docs/pocket.md and draws its filmstrips into docs/pocket/; five minutes on two cores.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.memory import Strategy
from harness.pocket.language import Saying
from harness.pocket.preset import codec, pocket, probe
from harness.pocket.probe import SEEN, Probe
from harness.pocket.readout import JUDGED, play
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
from harness.pocket.world import Scene, look, script
from harness.registry import parse_strategy
from reports.plots.strips import filmstrip
from tests.benchmarks.pocket_bars import ability

MEMORIES = ("full", "sliding_window", "attention_sink", "infinity_rope", "memrope")
FOLDER = Path(__file__).parents[2] / "docs/pocket"


def examined(probe: Probe, count: int = 4000) -> Iterator[list[str]]:
    """Yield the rows of the probe's table over held-out pictures: the share of correct values of every attribute,
    where unsure counts as wrong, of wrong answers, and of unsure answers to what cannot be read."""
    generator = torch.Generator().manual_seed(0)
    seeds = range(100_000, 100_000 + count)
    coded = truths(seeds, codec())
    ones = torch.ones(count)
    plates = {
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
    for name, plate in plates.items():
        values = probe.read(plate.pictures).values
        readable, right = plate.values >= 0, values == plate.values
        shares = [right[:, column][readable[:, column]] for column in range(len(SEEN))]
        yield [name, *map(_share, (*shares, (~right & (values >= 0))[readable], (values < 0)[~readable]))]


def able(backbone: Backbone, probe: Probe, rows: int = 128) -> Iterator[list[str]]:
    """Yield the rows of the model's table: the share of correct values of every attribute under full attention."""
    for name, found in ability(backbone, probe, rows):
        yield [name, *(f"{found[each]:.2f}" if each in found else "" for each in JUDGED)]


def films(backbone: Backbone, folder: Path = FOLDER) -> None:
    """Draw filmstrips of the truth, continuations and long rollouts."""
    seeds, steady = range(2000, 2006), [script("a thing")] * 6
    with_words = [(Scene(0, Saying(look(seed))),) for seed in seeds]
    full = _strategy("full")
    continued, truth = play(backbone, full, steady, seeds, 36, given=3)
    told, _ = play(backbone, full, with_words, seeds, 36)
    times = [f"{frame / 4:g} s" for frame in range(0, 36, 3)]
    rows = [each for pair in zip(truth.pixels[:, ::3], continued[:, ::3], strict=True) for each in pair]
    filmstrip(rows, folder / "continued.png", times, ["truth", "from its first chunk"] * 6)
    filmstrip(list(told[:, ::3]), folder / "told.png", times, [scenes[0].prompt for scenes in with_words])
    for frames in (84, 960):
        every = frames // 12
        rows, labels = [], []
        for name in MEMORIES[1:] if frames > 240 else MEMORIES:
            made, truth = play(backbone, _strategy(name), steady[:2], seeds[:2], frames, given=3)
            rows += list(made[:, ::every])
            labels += [name, ""]
        rows, labels = [*truth.pixels[:, ::every], *rows], ["truth", "", *labels]
        filmstrip(rows, folder / f"{frames}.png", [f"{frame / 4:g} s" for frame in range(0, frames, every)], labels)
    hidden = [script("a thing", (6, "a curtain"), (36, "back to a thing"))] * 2
    rows, labels = [], []
    for name in MEMORIES:
        made, truth = play(backbone, _strategy(name), hidden, seeds[:2], 48, given=3)
        rows, labels = [*rows, *made[:, ::4]], [*labels, name, ""]
    rows, labels = [*truth.pixels[:, ::4], *rows], ["truth", "", *labels]
    filmstrip(rows, folder / "curtain.png", [f"{frame / 4:g} s" for frame in range(0, 48, 4)], labels)


def _strategy(text: str) -> Strategy:
    return parse_strategy(text)[1]


def _with(plate: Plate, pictures: Tensor) -> Plate:
    return Plate(pictures.clamp(0, 1), plate.values, plate.places, plate.present)


def _share(answers: Tensor) -> str:
    """Return the share of true answers as text; "" where there is none."""
    return f"{answers.float().mean():.3f}" if len(answers) else ""


def main() -> None:
    """Print both tables of docs/pocket.md and draw its filmstrips."""
    backbone, reader = pocket(), probe()
    with torch.inference_mode():
        _print(["pictures", *SEEN, "wrong answers", "unsure of the unreadable"], examined(reader))
        _print(["rollouts of `full`", *JUDGED], able(backbone, reader))
        films(backbone)


def _print(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown, row by row."""
    for row in itertools.chain((head, ["---"] * len(head)), rows):
        print("| " + " | ".join(row) + " |", flush=True)
    print()


if __name__ == "__main__":
    main()
