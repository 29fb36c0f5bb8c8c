"""The order in which several workers take the cells of a campaign."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from harness.suite import CostSuite

if TYPE_CHECKING:
    from harness.campaign.expansion import Cell

T = TypeVar("T")


def longest_first(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells in an order in which no long cell is left for the end, when workers would wait for it.

    A task stays together with all of its arms, so that a preliminary table compares them. The first task of every suite
    stays in front, because suites begin with what an early table shows; the other tasks follow, the longest first.
    Cells of cost suites keep their random order behind them. `tests/benchmarks/makespan.py` compares orders.
    """
    quality = [cell for cell in cells if not isinstance(cell.suite, CostSuite)]
    tasks: dict[tuple[str, str], list[Cell]] = {}
    for cell in quality:
        # Tasks of an unbounded memory end earlier, and are of the same rollouts.
        tasks.setdefault((cell.suite.name, _rollouts(cell)), []).append(cell)
    groups = list(tasks.values())
    first = {name: number for number, (name, _) in reversed(list(enumerate(tasks)))}
    front = sorted(first.values())
    rest = sorted(set(range(len(groups))) - set(front), key=lambda number: -max(map(work, groups[number])))
    ordered = [cell for number in [*front, *rest] for cell in groups[number]]
    return [*ordered, *(cell for cell in cells if isinstance(cell.suite, CostSuite))]


def finish(seconds: Iterable[float], workers: int) -> float:
    """Return the time at which the last of several workers ends that take pieces of work in this order."""
    free = [0.0] * workers
    for each in seconds:
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def work(cell: Cell) -> int:
    """Return the latent frames of all rollouts of a cell; 0 for a cell that is not run."""
    return 0 if cell.skip else cell.task.frames * len(cell.task.rows)


def from_shard(cells: Sequence[T], index: int, count: int) -> list[T]:
    """Return all cells with a shard of them in front: every `count`-th, from number `index` on.

    Processes that begin with different shards do not ask for the same cells; each then helps the others.
    """
    return [*cells[index::count], *(cell for number, cell in enumerate(cells) if number % count != index)]


def _rollouts(cell: Cell) -> str:
    return repr((cell.task.scenario, [(row.seed, row.script[0]) for row in cell.task.rows]))
