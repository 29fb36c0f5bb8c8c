"""A package of somebody else's, as pip leaves it in a folder: a strategy to edit, a toy suite and a toy backbone."""

from __future__ import annotations

import os
from pathlib import Path

from tests.zygote import run

ROOT = Path(__file__).parents[2]

STRATEGY = '''"""An average of all that left, beside the latest frames."""

from dataclasses import dataclass

from harness.memory.frames import FrameCache
from harness.memory import Strategy


@dataclass(frozen=True, kw_only=True)
class Mine(Strategy):
    """A window.

    window: latent frames.
    """

    paper = "https://example.org"
    window: int = 9

    def open(self, spec):
        return FrameCache(spec, window=self.window, positions="relative")

    def footprint(self, spec, frames):
        return spec.bytes(min(frames, self.window - spec.chunk) * spec.frame_tokens)
'''
TOYS = '''"""A suite and a backbone that take a second."""

from harness.backbone.presets import Backbone
from harness.suite import CostSuite, Metric, Sample, Row, Task
from tests import toy
from tests.toy import Toy


def backbone(device="cpu", dtype="float32"):
    return toy.backbone(trained_frames=30)


class Clock(CostSuite):
    """Speeds that are made up."""

    name = "clock"
    version = "1"
    tiers = ("quick",)
    metrics = property(lambda self: {"fps": Metric("1/s", "higher", "made up", 0)})

    def tasks(self, backbone, tier, seed=0):
        return [Task("stream", 6, 0, (Row(repeat, ((0, "a"),)),)) for repeat in range(3)]

    def measure(self, backbone, strategy, task, began):
        return [Sample(0, "fps", 6, 10.0 + task.rows[0].seed)]

    def scores(self, samples):
        return samples
'''
POINTS = """[horizon.strategies]
mine = acme_mine:Mine
[horizon.suites]
toy = acme_toys:Toy
clock = acme_toys:Clock
[horizon.backbones]
toy = acme_toys:backbone
"""


def install(folder: Path) -> Path:
    """Put the package into a folder; returns the file of its strategy."""
    about = folder / "acme-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    (folder / "acme_toys.py").write_text(TOYS, encoding="utf-8")
    strategy = folder / "acme_mine.py"
    strategy.write_text(STRATEGY, encoding="utf-8")
    return strategy


def horizon(folder: Path, *words: str, code: int = 0, cwd: Path | None = None, **variables: str) -> str:
    """What a command says, on the output or, where it fails, on the error stream."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "COLUMNS": "200", **variables}
    done = run(["-P", "-c", "from harness.cli import main; main()", *words], cwd=cwd or folder, env=environment)
    assert done.returncode == code, done.stderr or done.stdout
    return done.stderr if code == 2 else done.stdout
