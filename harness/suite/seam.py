"""The suite seam: versioned data, and a function from rollouts to samples.

A suite names tasks, each a batch of rollouts of one scenario that are run and stored together. There are two kinds.
In a `QualitySuite`, while a task is rolled out, an observer sees every chunk once and keeps what it needs, so that a
day of video fits into the memory of a minute; at the end it gives samples. A `CostSuite` rolls out by itself, in a
process of its own, and reads clocks. A third party registers either under the entry point group `horizon.suites`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from harness.backbone.presets import Backbone
from harness.memory import Boundary, Strategy
from harness.suite.display import Display, Table, plain_columns
from harness.suite.metric import Metric, PictureMetric, find_metric
from harness.suite.observer import Observer, Onlooker, Place
from harness.suite.task import Sample, Task

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


class Suite(ABC):
    """What is asked of every strategy alike.

    Attributes
    ----------
    name : str
        Its registered name.
    version : str
        Changes with anything that could change a number.
    tiers : sequence of str
        The sizes in which it can be asked for.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    tiers: ClassVar[Sequence[str]]

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """What its samples and scores are called.

        A name that ends with `*` stands for all names that begin so: one for each attribute of a known world.
        """

    def remedy(self, backbone: Backbone) -> str | None:
        """Return why this suite cannot run on a backbone and what to do about it.

        Parameters
        ----------
        backbone
            The one that was asked for.

        Returns
        -------
        str or None
            None where it can run.
        """
        return None

    @property
    def further(self) -> Mapping[str, Metric]:
        """Metrics that are no part of a cell's name: of some backbones only, or read off finished videos by viewers."""
        return {}

    @property
    def all_metrics(self) -> Mapping[str, Metric]:
        """Whatever its samples and scores may be called."""
        return {**self.metrics, **self.further}

    def metric_named(self, name: str) -> Metric | None:
        """Return what a sample or score of this name is.

        Parameters
        ----------
        name
            As it stands in a sample.

        Returns
        -------
        Metric or None
            None for a name that this suite does not declare.
        """
        return find_metric(self.all_metrics, name)

    def skipped(self) -> Mapping[str, str]:
        """Return the metrics that cannot run here.

        Returns
        -------
        mapping
            What to do about each, by name.
        """
        return {}

    def references(self) -> Sequence[Strategy]:
        """Return the strategies that every cell is compared with while it runs; their code is part of each cell's.

        Returns
        -------
        sequence of Strategy
            None by default.
        """
        return ()

    def instruments(self) -> Mapping[str, PictureMetric]:
        """Return the registered picture metrics that it takes while a cell runs; a cell records the code of each.

        Returns
        -------
        mapping
            By name.
        """
        return {}

    def take(self, prompts: Path) -> bool:
        """Use the prompts of a file instead of its own.

        Parameters
        ----------
        prompts
            The file.

        Returns
        -------
        bool
            False where what it measures needs its own.
        """
        return False

    @abstractmethod
    def tasks(self, backbone: Backbone, tier: str, seed: int = 0) -> list[Task]:
        """Return the tasks of a tier, the same for every strategy.

        Parameters
        ----------
        backbone, tier
            On which they are rolled out, and one of `tiers`.
        seed
            Another seed gives other rollouts of the same kind.

        Returns
        -------
        list of Task
            In the order in which they run.
        """

    def at_equal_budget(self, task: Task, tier: str) -> bool:
        """Return whether arms that are only in the table of the equal budget run a task.

        Parameters
        ----------
        task, tier
            One of `tasks`, and the tier that it is of.

        Returns
        -------
        bool
            True by default.
        """
        return True

    def display(self, there: Collection[tuple[str, str]]) -> Display:
        """Return how a report shows this suite; by default a table with a column for every scenario and score.

        Parameters
        ----------
        there
            Scenario and score of all numbers that the report has of this suite.

        Returns
        -------
        Display
            Columns, tables, charts, filmstrips and notes.
        """
        return Display(tables=(Table(self.name.replace("_", " "), plain_columns(there, self.metrics)),))

    @abstractmethod
    def scores(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Return what a report compares, computed when it is read.

        Parameters
        ----------
        samples
            The tidy table of this suite, one row a sample.

        Returns
        -------
        DataFrame
            The same columns, one row a rollout, horizon and score of `metrics`.
        """


class QualitySuite(Suite):
    """One that looks at what is drawn."""

    @abstractmethod
    def given(self, backbone: Backbone, task: Task) -> Tensor | None:
        """Return the clean latents that the rollouts of a task start with.

        Parameters
        ----------
        backbone, task
            The rollouts, and on what they are made.

        Returns
        -------
        Tensor or None
            [B, task.given, C, H, W]; all frames for a task that is forced; None for a task that begins from text.
        """

    @abstractmethod
    def observer(self, backbone: Backbone, task: Task, place: Place) -> Observer:
        """Return a fresh observer for one task.

        Parameters
        ----------
        backbone, task
            The rollouts, and on what they are made.
        place
            Where it may write files.

        Returns
        -------
        Observer
            It sees each chunk once.
        """

    def film_scenario(self, boundaries: Sequence[Boundary]) -> str | None:
        """Return the scenario of a film made elsewhere.

        Parameters
        ----------
        boundaries
            How its scenes are entered.

        Returns
        -------
        str or None
            None where this suite looks at none.
        """
        return None

    def onlooker(self, frames: int, rate: float, pixels: Callable[[int], int]) -> Onlooker:
        """Return what sees the pictures of a film made elsewhere, where the suite has a scenario for it.

        Parameters
        ----------
        frames, rate, pixels
            Latent frames of the film; pictures per second; returns the pictures of so many latent frames.

        Returns
        -------
        Onlooker
            A new one.
        """
        raise NotImplementedError


class CostSuite(Suite):
    """One that measures what drawing takes.

    Its tasks are rollouts of one row, whose seed counts the repeats; each is measured in a fresh process, while nothing
    else of the campaign runs.

    `measure` may take one more argument, the keyword `between_chunks`, None by default: a function without arguments,
    to be called after every chunk, outside of what is timed. A gate that measures two checkouts on one machine lets
    them take turns there, chunk by chunk. A suite without this keyword is measured whole: they take turns cell by cell.
    """

    @abstractmethod
    def measure(self, backbone: Backbone, strategy: Strategy, task: Task, began: float) -> list[Sample]:
        """Return all samples of a task.

        Parameters
        ----------
        backbone, strategy, task
            One rollout, the memory that is measured, and on what.
        began
            When its process was started, by `time.time`.

        Returns
        -------
        list of Sample
            In any order.

        Raises
        ------
        MeasurementError
            For a run whose numbers must not count.
        """
