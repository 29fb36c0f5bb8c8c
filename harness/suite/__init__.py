"""The seam of suites: what they ask for, what observers give, and how it is measured.

`Suite` has two kinds, `QualitySuite` and `CostSuite`; a `Task` is a batch of rollouts, a `Sample` one number of one of
them.
"""

from harness.suite.seam import (
    Better,
    CostSuite,
    Margin,
    Metric,
    Observer,
    PictureMetric,
    Place,
    QualitySuite,
    Suite,
)
from harness.suite.task import Row, Sample, Task

__all__ = [
    "Better", "CostSuite", "Margin", "Metric", "Observer", "PictureMetric", "Place", "QualitySuite", "Row", "Sample",
    "Suite", "Task",
]  # fmt: skip
