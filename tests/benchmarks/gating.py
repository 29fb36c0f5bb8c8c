"""Does the gate find and name a regression that was inserted, and no other? Each try changes MemRoPE in a copy of this
tree.

    python -m tests.benchmarks.gating slow|large|forget [TRIES] [--clean runs/aa] [--out runs/gating]

slow: a chunk takes a tenth longer (a sleep). large: the cache holds a tenth more. forget: what the memory recalls is
blurred until identity at 240 latent frames is lower by 0.1. A try measures MemRoPE anew, in turn with this tree; every
other strategy is taken from real gates of the same code against itself, which `nox -s aa` makes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.gate.checkouts import tree
from harness.gate.interleave import quality
from reports.gate.evidence import Evidence, read, united
from reports.gate.page import headline
from reports.gate.policy import declared
from reports.gate.verdicts import Verdict, judge

ROOT = Path(__file__).parents[2]
ARM = "memrope"
SUITES = {"slow": "latency", "large": "vram", "forget": "drift"}
METRICS = {"slow": {"chunk_p50_ms"}, "large": {"cache_bytes", "peak_bytes"}, "forget": {"unsaid_identity", "motion"}}
"""What may be named: a blurred memory moves things less far, too."""
LOSS = 0.1
CHANGES = {
    "slow": """
import time as _time

_recall = _Averages.recall


def _slowly(self, layer, query, at):
    if layer == 0 and at.pass_index == 0:
        _time.sleep({amount})
    return _recall(self, layer, query, at)


_Averages.recall = _slowly
""",
    "large": """
_stored = _Averages.stored


def _more(self):
    if not hasattr(self, "_extra"):
        self._extra = torch.zeros(int({amount}), dtype=torch.uint8, device=self.spec.device)
    return [*_stored(self), self._extra]


_Averages.stored = _more
""",
    "forget": """
_recall = _Averages.recall


def _blurred(self, layer, query, at):
    found = _recall(self, layer, query, at)
    generator = torch.Generator().manual_seed(at.start * 100 + layer)

    def blur(x):
        return x + {amount} * x.std() * torch.randn(x.shape[1:], generator=generator)

    return Context(tuple(slot.map(blur) for slot in found.slots), found.positions, found.start)


_Averages.recall = _blurred
""",
}


def changed(kind: str, amount: float, folder: Path) -> Path:
    """Make a copy of this tree with a change in MemRoPE, and return its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("harness", "strategies", "suites", "reports"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    file = folder / "strategies" / "memrope.py"
    file.write_text(file.read_text(encoding="utf-8") + CHANGES[kind].format(amount=amount), encoding="utf-8")
    return folder


def tried(kind: str, tree: Path, out: Path, number: int) -> tuple[Evidence, Evidence]:
    """MemRoPE of the changed tree beside this one, as `horizon gate` measures them with its default budget."""
    out.mkdir(parents=True, exist_ok=True)
    campaign = out / "campaign.toml"
    campaign.write_text(
        f'suites = ["{SUITES[kind]}"]\ntier = "gate"\nequal_budget = 0\nseed = {10 * number}\n', encoding="utf-8"
    )
    words = [str(out), "--against", str(ROOT), "--campaign", str(campaign), "--strategy", ARM, "--minutes", "2.5"]
    # The changed tree is this code; the clean one is what it is measured against.
    subprocess.run(
        [sys.executable, "-m", "harness.cli", "gate", *words], cwd=tree, env=_here(tree), check=False,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return read(out / "head.parquet"), read(out / "base.parquet")


def whole(clean: tuple[Evidence, Evidence], mine: tuple[Evidence, Evidence], suite: str) -> Verdict:
    """The gate's verdict on everything: the try's numbers of MemRoPE, and clean ones of all else."""
    sides = []
    for before, now in zip(clean, mine, strict=True):
        scores = before.scores
        rest = replace(before, scores=scores[~((scores["arm"] == ARM) & (scores["suite"] == suite))])
        sides.append(united([rest, now]))
    return judge(*sides, declared(sides[0].suites()))


def amount_of(kind: str, clean: Evidence, out: Path) -> float:
    """Return the size of the change: seconds, bytes, or the share of noise."""
    if kind == "forget":
        return _blur(out)
    scores = clean.scores
    metric = {"slow": "chunk_p50_ms", "large": "cache_bytes"}[kind]
    usual = scores[(scores["arm"] == ARM) & (scores["metric"] == metric)]["value"].median()
    return 0.1 * usual / (1000 if kind == "slow" else 1)


def _blur(out: Path) -> float:
    """Return the share of noise that lowers identity by a tenth, by bisection over 32 rollouts of other seeds than the
    tries'."""
    low, high = 0.0, 2.0
    before = _identity(changed("forget", 0.0, out / "tree"), out / "blur-0")
    for step in range(7):
        middle = (low + high) / 2
        lost = before - _identity(changed("forget", middle, out / "tree"), out / f"blur-{step + 1}")
        print(f"blur {middle:.3f}: identity {before:.3f} - {lost:.3f}", flush=True)
        if abs(lost - LOSS) < 0.01:
            return middle
        low, high = (middle, high) if lost < LOSS else (low, middle)
    return (low + high) / 2


def _identity(blurred: Path, folder: Path) -> float:
    values = []
    for seed in (901, 902):
        place = Path(f"{folder}-{seed}")
        shutil.rmtree(place, ignore_errors=True)
        asked = {"strategies": [ARM], "suites": ["drift"], "tier": "gate", "equal_budget": 0, "seed": seed}
        quality(tree(blurred), asked, place, ("--threads", "1"))
        scores = read(place).scores
        values.append(scores[(scores["metric"] == "unsaid_identity") & (scores["arm"] == ARM)]["value"].to_numpy())
    return float(np.concatenate(values).mean())


def _here(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree.resolve()), "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Run the tries of one kind and print the result of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=list(SUITES))
    parser.add_argument("tries", type=int, nargs="?", default=10)
    parser.add_argument("--clean", type=Path, default=Path("runs/aa"))
    parser.add_argument("--out", type=Path, default=Path("runs/gating"))
    asked = parser.parse_args()
    out = asked.out.resolve()
    clean = [
        (read(run / "head.parquet"), read(run / "base.parquet"))
        for run in sorted(each.parent for each in asked.clean.glob("*/base.parquet"))
    ]
    amount = amount_of(asked.kind, clean[0][1], out)
    print(f"{asked.kind}: {amount:.4g}", flush=True)
    spoilt = changed(asked.kind, amount, out / "tree")
    right = 0
    for number in range(asked.tries):
        place = out / f"{asked.kind}-{number}"
        verdict = whole(clean[number % len(clean)], tried(asked.kind, spoilt, place, number), SUITES[asked.kind])
        named = {(finding.arm, finding.metric) for finding in verdict.of("regression")}
        good = bool(named) and all(arm == ARM and metric in METRICS[asked.kind] for arm, metric in named)
        right += good
        print(f"{number}: {'caught' if good else 'NOT RIGHT'}: {headline(verdict)}", flush=True)
    print(f"{right} of {asked.tries} caught and named, nothing else named")


if __name__ == "__main__":
    main()
