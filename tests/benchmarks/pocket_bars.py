"""Checks of a pocket in training, on few rollouts: accuracy with full attention, and fairness to every memory.

`python -m tests.benchmarks.pocket_bars FOLDER [--stage NAME] [--rows N] [--fairness]` reads the running mean of the
weights out of a stage's latest checkpoint and prints a line of JSON for each part as it comes. Without a folder the
shipped weights are measured.

All rollouts stay within the trained range of 36 frames. "kept": the prompts after a true first chunk name no attribute.
"evolve": three attributes change at frame 9 and the prompt falls silent at frame 18. "return": another scene at 9, the
first one again at 18. "curtain": down from 9 to 18, then the same scene. Attributes are read at frames 30 to 36.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from harness import registry
from harness.backbone.presets import Backbone, build
from harness.pocket import preset
from harness.pocket.codec import PatchCodec
from harness.pocket.known import PocketWorld
from harness.pocket.language import ATTRIBUTES, Saying
from harness.pocket.probe import SEEN, Probe
from harness.pocket.readout import JUDGED, judge, play, true_values
from harness.pocket.training.memories import HELD_OUT
from harness.pocket.world import Scene, look, script
from harness.registry import parse_strategy
from harness.training.loop import STATE

FRAMES, READ = 36, 6
FIRST = 3_000_000
Script = tuple[Scene, ...]
FAIR = (
    *(name for name in sorted(registry.found("strategies")) if name != "full"),
    "attention_sink.on_switch=recache",
    "echo_infinity.on_switch=keep",
)


WORLD = PocketWorld(preset.probe)


def changed(look: Mapping[str, str], seed: int) -> dict[str, str]:
    """Return new values of three attributes."""
    return dict(WORLD.changed(look, seed, 1))


def evolve(seed: int) -> Script:
    now = Scene(9, Saying(changed(look(seed), seed), "smooth"))
    return Scene(0, Saying()), now, Scene(18, Saying({}, "smooth"))


def turned(kind: str) -> Callable[[int], Script]:
    """Return a function that makes scripts with another motion and three other attributes from frame 15 on."""

    def made(seed: int) -> Script:
        old, new = look(seed), look(seed, 1)
        others = [value for value in ATTRIBUTES["motion"] if value != old["motion"]]
        said = {**changed(old, seed), "motion": others[seed % 3], "speed": new["speed"]}
        return Scene(0, Saying(old)), Scene(15, Saying(said, kind))  # type: ignore[arg-type]

    return made


SCENARIOS: dict[str, tuple[int, Callable[[int], Script]]] = {
    "kept": (3, lambda seed: script("a thing")),
    "evolve": (3, evolve),
    "return": (3, lambda seed: script("a thing", (9, "cut to a thing"), (18, "back to a thing"))),
    "curtain": (3, lambda seed: script("a thing", (9, "a curtain"), (18, "now a thing"))),
    "told": (0, lambda seed: (Scene(0, Saying(look(seed))),)),
    "smooth": (0, turned("smooth")),
    "hardcut": (0, turned("hardcut")),
}


def shares(
    backbone: Backbone, probe: Probe, strategy: str, scenario: str, rows: int
) -> tuple[Tensor, Tensor, list[Script]]:
    """Return whether each attribute of `JUDGED` is right, and whether it counts, [rows, 8], and the scripts."""
    given, made = SCENARIOS[scenario]
    seeds = range(FIRST, FIRST + rows)
    scripts = [made(seed) for seed in seeds]
    pictures, truth = play(backbone, parse_strategy(strategy)[1], scripts, seeds, FRAMES, given=given)
    meant = true_values(truth, FRAMES - 1)
    return judge(probe, pictures[:, -READ:]).whole == meant, meant >= 0, scripts


def ability(backbone: Backbone, probe: Probe, rows: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Return the share of correct values of every attribute under full attention, separately for changed attributes."""
    for scenario in SCENARIOS:
        right, counts, scripts = shares(backbone, probe, "full", scenario, rows)
        if scenario == "evolve":
            new = torch.tensor([[name in scenes[1].saying.said for name in JUDGED] for scenes in scripts])
            yield "evolve, changed", _by_name(right, counts & new)
            yield "evolve, unchanged", _by_name(right, counts & ~new)
        elif scenario in ("smooth", "hardcut"):
            new = torch.tensor([[name in scenes[1].saying.said for name in JUDGED] for scenes in scripts])
            yield f"{scenario}, said", _by_name(right, counts & new)
        else:
            yield scenario, _by_name(right, counts)


def fairness(
    backbone: Backbone, probe: Probe, rows: int, strategies: Sequence[str], scenarios: Sequence[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Return the mean over the attributes of a single picture, divided by that of full attention, as the suite fairness
    does."""
    still = torch.tensor([name in SEEN for name in JUDGED])
    whole: dict[str, float] = {}
    for strategy in ("full", *strategies):
        found = {}
        for scenario in scenarios:
            right, counts, _ = shares(backbone, probe, strategy, scenario, rows)
            found[scenario] = float(right[counts & still].float().mean())
        whole = whole or found
        yield strategy, {scenario: found[scenario] / whole[scenario] for scenario in scenarios}


def opened(folder: Path, stage: str) -> Backbone:
    """Return the pocket in training: the running mean of the weights in a stage's latest checkpoint."""
    model, codec = build(preset.CONFIG), PatchCodec()
    preset.restore(codec, folder / "codec.safetensors")
    model.load_state_dict(torch.load(folder / stage / STATE, weights_only=True)["mean"])
    return preset.assembled(model, codec)


def _by_name(right: Tensor, counts: Tensor) -> dict[str, float]:
    return {
        name: float(right[:, column][counts[:, column]].float().mean())
        for column, name in enumerate(JUDGED)
        if counts[:, column].any()
    }


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path, nargs="?")
    asked.add_argument("--stage", default="foundation")
    asked.add_argument("--probe", type=Path)
    asked.add_argument("--rows", type=int, default=32)
    asked.add_argument("--fairness", action="store_true")
    asked.add_argument("--strategies", nargs="*", default=[*FAIR, *HELD_OUT])
    asked.add_argument("--scenarios", nargs="*", default=["kept", "evolve"])
    args = asked.parse_args()
    backbone = opened(args.folder, args.stage) if args.folder else preset.pocket()
    reader = Probe().requires_grad_(False).eval()
    preset.restore(reader, args.probe or preset.WEIGHTS / "probe.safetensors")
    found = (
        fairness(backbone, reader, args.rows, args.strategies, args.scenarios)
        if args.fairness
        else ability(backbone, reader, args.rows)
    )
    with torch.inference_mode():
        for name, row in found:
            print(f"{name:32}", json.dumps({key: round(value, 3) for key, value in row.items()}), flush=True)


if __name__ == "__main__":
    main()
