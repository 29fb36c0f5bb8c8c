"""What a number is, and numbers of pictures that third parties add."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Margin:
    """How much worse a number may get before a gate minds; both limits must be exceeded.

    Parameters
    ----------
    relative
        Share of the number.
    absolute
        In the unit of the number.
    gated
        Whether it can fail a gate, or is only told.
    """

    relative: float = 0.0
    absolute: float = 0.0
    gated: bool = True


@dataclass(frozen=True)
class Metric:
    """What a number is: its unit, which way is better, between which bounds it lies, and how it is got.

    Parameters
    ----------
    unit
        Unit of its values.
    better
        "higher", "lower" or "neither".
    about
        What it is, in words.
    low, high
        Its bounds; None where it has none.
    margin
        How a gate judges it at the longest horizon of a scenario; None where no gate looks at it.
    until_horizon
        Whether it is seconds that end with the video, whose length is then the upper bound.
    yardstick
        The strategy to which it measures the distance; that strategy is at 0 by definition, and no report marks or
        ranks it there.
    handicap
        Below this mean an arm is marked in every table of a report: the model puts it at a disadvantage.
    """

    unit: str
    better: Better
    about: str
    low: float | None = None
    high: float | None = None
    margin: Margin | None = None
    until_horizon: bool = False
    yardstick: str = ""
    handicap: float | None = None


class PictureMetric(ABC):
    """A number a picture, beside a reference: what third parties add under the entry point group `horizon.metrics`.

    Its name is the entry point's. Suites that see pictures take all that are registered.

    Attributes
    ----------
    metric : Metric
        What its numbers are.
    """

    metric: ClassVar[Metric]

    def remedy(self) -> str | None:
        """Return why it cannot run here and what to do about it (install a package, fetch weights).

        Returns
        -------
        str or None
            None where it can run.
        """
        return None

    @abstractmethod
    def __call__(self, pictures: Tensor, reference: Tensor) -> Tensor:
        """Return a value for every picture.

        Parameters
        ----------
        pictures
            [B, T, 3, H, W] in 0..1.
        reference
            What they should look like, of the same shape.

        Returns
        -------
        Tensor
            Values [B, T].
        """


def find_metric(metrics: Mapping[str, Metric], name: str) -> Metric | None:
    """Return the metric of a name, among declared ones whose names may end with `*`; None where there is none.

    Parameters
    ----------
    metrics
        Metrics by name; a name that ends with `*` stands for all names that begin so.
    name
        As it stands in a sample.
    """
    families = (metric for key, metric in metrics.items() if key.endswith("*") and name.startswith(key[:-1]))
    return metrics.get(name) or next(families, None)
