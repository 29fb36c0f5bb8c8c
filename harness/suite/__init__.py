"""The seam of suites: what they ask for, what observers give, and how it is measured.

`Suite` has two kinds, `QualitySuite` and `CostSuite`; a `Task` is a batch of rollouts, a `Sample` one number of one of
them.
"""

from harness.suite.display import Chart, Column, Display, Table, curve
from harness.suite.metric import Better, Margin, Metric, PictureMetric, find_metric
from harness.suite.observer import Observer, Onlooker, Place
from harness.suite.seam import CostSuite, QualitySuite, Suite
from harness.suite.task import HORIZONS, Row, Sample, Task, rollout_seeds

__all__ = [
    "HORIZONS", "Better", "Chart", "Column", "CostSuite", "Display", "Margin", "Metric", "Observer", "Onlooker",
    "PictureMetric", "Place", "QualitySuite", "Row", "Sample", "Suite", "Table", "Task", "curve", "find_metric",
    "rollout_seeds",
]  # fmt: skip
