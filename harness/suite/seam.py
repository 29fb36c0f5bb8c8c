"""The suite seam: versioned data, and a function from rollouts to samples.

A suite names tasks, each a batch of rollouts of one scenario that are run and stored together. There are two kinds.
In a `QualitySuite`, while a task is rolled out, an observer sees every chunk once and keeps what it needs, so that a
day of video fits into the memory of a minute; at the end it gives samples. A `CostSuite` rolls out by itself, in a
process of its own, and reads clocks. A third party registers either under the entry point group `horizon.suites`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.memory import Strategy
from harness.suite.display import Display, Table, plain_columns
from harness.suite.task import Sample, Task

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Margin:
    """How much worse a number may get before a gate minds: by this share of it, and by this much in its unit. Both must
    be exceeded. gated: whether it can fail a gate, or is only told."""

    relative: float = 0.0
    absolute: float = 0.0
    gated: bool = True


@dataclass(frozen=True)
class Metric:
    """What a number is: its unit, which way is better, between which bounds it lies, and how it is got.

    margin: how a gate judges it at the longest horizon of a scenario; None where no gate looks at it. until_horizon:
    seconds that end with the video, whose length is then the upper bound. yardstick: the strategy to which it measures
    the distance; that strategy is at 0 by definition, and no report marks or ranks it there.
    """

    unit: str
    better: Better
    about: str
    low: float | None = None
    high: float | None = None
    margin: Margin | None = None
    until_horizon: bool = False
    yardstick: str = ""


class PictureMetric(ABC):
    """A number a picture, beside a reference: what third parties add under the entry point group `horizon.metrics`.

    Its name is the entry point's. Suites that see pictures take all that are registered.
    """

    metric: ClassVar[Metric]

    def remedy(self) -> str | None:
        """Why it cannot run here and what to do about it (install a package, fetch weights); None where it can."""
        return None

    @abstractmethod
    def __call__(self, pictures: Tensor, reference: Tensor) -> Tensor:
        """Pictures [B, T, 3, H, W] in 0..1 and what they should look like, of the same shape -> values [B, T]."""


@dataclass(frozen=True)
class Place:
    """Where an observer may write files that belong to its cell, and what they are about.

    folder: need not be there yet; what is in it at the end becomes the cell's `files`. about: cell, strategy, knobs.
    lossless: whether videos are also wanted without loss.
    """

    folder: Path
    about: Mapping[str, Any]
    lossless: bool = False


class Observer(Protocol):
    """Sees the chunks of one task, in order, each once."""

    def see(self, latents: Tensor, start: int) -> None:
        """Latents [B, frames, C, H, W] that begin at latent frame `start`; given frames come first."""

    def samples(self) -> list[Sample]:
        """All that was measured, once the rollouts are over."""

    def pictures(self) -> Mapping[str, Any]:
        """A few pictures for filmstrips, as arrays by name; what the suite's own plots read."""

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on after a crash: nested dicts and lists of tensors and numbers."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""


class Suite(ABC):
    """What is asked of every strategy alike. `version` changes with anything that could change a number."""

    name: ClassVar[str]
    version: ClassVar[str]
    tiers: ClassVar[Sequence[str]]

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """What its samples and scores are called."""

    def remedy(self, backbone: Backbone) -> str | None:
        """Why this suite cannot run on a backbone and what to do about it; None where it can."""
        return None

    @property
    def further(self) -> Mapping[str, Metric]:
        """Metrics that are no part of a cell's name: those that some backbones only give, and those that viewers read
        off finished videos later, in environments of their own, which changes nothing about the videos."""
        return {}

    @property
    def all_metrics(self) -> Mapping[str, Metric]:
        """Whatever its samples and scores may be called."""
        return {**self.metrics, **self.further}

    def skipped(self) -> Mapping[str, str]:
        """Metrics that cannot run here, with the remedy."""
        return {}

    def references(self) -> Sequence[Strategy]:
        """Strategies that every cell is compared with while it runs; their code is part of each cell's."""
        return ()

    def instruments(self) -> Mapping[str, PictureMetric]:
        """The registered picture metrics that it takes while a cell runs, by name; a cell records the code of each."""
        return {}

    def take(self, prompts: Path) -> bool:
        """Use the prompts of a file instead of its own; False where what it measures needs its own."""
        return False

    @abstractmethod
    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        """The tasks of a tier, the same for every strategy; another seed gives other rollouts of the same kind."""

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        """Return how a report shows this suite; by default a table with a column for every scenario and score.

        Parameters
        ----------
        there: scenario and score of all numbers that the report has of this suite.
        """
        return Display(tables=(Table(self.name.replace("_", " "), plain_columns(there, self.metrics)),))

    @abstractmethod
    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        """What a report compares, computed when it is read: one row a rollout, horizon and score.

        samples: the tidy table of this suite. Returns the same columns, `metric` naming a score of `metrics`.
        """


class QualitySuite(Suite):
    """One that looks at what is drawn."""

    @abstractmethod
    def given(self, backbone: Backbone, task: Task) -> Tensor | None:
        """Clean latents [B, task.given, C, H, W] that the rollouts of a task start with; all of them for a task that
        is forced."""

    @abstractmethod
    def observer(self, backbone: Backbone, task: Task, place: Place) -> Observer:
        """A fresh observer for one task."""


class CostSuite(Suite):
    """One that measures what drawing takes. Its tasks are rollouts of one row, whose seed counts the repeats; each is
    measured in a fresh process, while nothing else of the campaign runs."""

    @abstractmethod
    def measure(self, backbone: Backbone, strategy: Strategy, task: Task, began: float) -> list[Sample]:
        """All samples of a task. `began`: when its process was started, by `time.time`.

        Raises MeasurementError for a run whose numbers must not count.
        """
