"""Distance of products in 8 bits: the next chunk in bfloat16 and in fp8, beside that in float32, after the same past.

`python -m tests.benchmarks.eight_bits [--strategy NAME ...]`. The measure is that of the suite `distance`, with full
attention in float32 as its control: the mean squared difference of the next chunk in percent of the latents' variance.
What a memory itself loses is in it too, so that the columns of one strategy are to be compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from harness import registry
from harness.backbone.request import BackboneRequest
from harness.rollout.task_rollout import rollout_of
from harness.suite import Place
from suites.distance import Distance

DTYPES = ("float32", "bfloat16", "fp8")


def distances(strategy: str, dtype: str) -> np.ndarray:
    """Return the distance of each rollout of the suite to full attention in float32, in percent."""
    suite, exact = Distance(), registry.backbone("pocket", dtype="float32")
    backbone = registry.open_backbone(BackboneRequest(name="pocket", dtype=dtype))
    (task,) = suite.tasks(exact, "quick")
    given = suite.given(exact, task)
    observer = suite.observer(exact, task, Place(Path("."), {}))
    _, made = registry.parse_strategy(strategy)
    with torch.inference_mode():
        for chunk in rollout_of(backbone, made, task, given=given.to(backbone.model.dtype)):
            observer.see(chunk.latents, chunk.start)
    rows = np.zeros((len(task.rows), 2))
    for sample in observer.samples():
        assert sample.value is not None
        rows[sample.row] += sample.value, 1
    return rows[:, 0] / rows[:, 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", nargs="*", default=["full", "sliding_window", "attention_sink", "memrope"])
    asked = parser.parse_args()
    print(f"{'strategy':<20}" + "".join(f"{dtype:>24}" for dtype in DTYPES))
    for strategy in asked.strategy:
        cells = []
        for dtype in DTYPES:
            found = distances(strategy, dtype)
            draws = np.random.default_rng(0).choice(found, (2000, len(found))).mean(1)
            low, high = np.quantile(draws, [0.025, 0.975])
            cells.append(f"{found.mean():.3f} [{low:.3f}, {high:.3f}]")
        print(f"{strategy:<20}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
