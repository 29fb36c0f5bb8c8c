"""A recording of passes without CUDA graphs, which reads and writes the same memory at every replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._pytree import tree_leaves


class Tape:
    """Recordings of passes: a replay does the work again, and puts its results where the first ones were."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0
        self._made: list[Any] = []

    def record(self, work: Callable[[], Any], device: torch.device, pool: object) -> tuple[Callable[[], None], Any]:
        made = work()
        self.recorded += 1
        self._made.append(made)
        # Nothing of a recording may be used before its first replay.
        spoil(made)

        def replay() -> None:
            self.replayed += 1
            again = work()
            # Graphs share memory: what another one returned is gone.
            for other in self._made:
                spoil(other)
            for target, source in zip(tensors_of(made), tensors_of(again), strict=True):
                target.copy_(source)

        return replay, made


def tensors_of(made: Any) -> list[torch.Tensor]:
    return [each for each in tree_leaves(made) if isinstance(each, torch.Tensor)]


def spoil(made: Any) -> None:
    for tensor in tensors_of(made):
        tensor.fill_(torch.nan)


@contextmanager
def taped() -> Iterator[Tape]:
    """Let any device record while the block runs; blocks run eagerly, so that results are equal to the bit."""
    tape = Tape()
    with ExitStack() as stack:
        stack.enter_context(patch("harness.rollout.graphs.recorded", tape.record))
        stack.enter_context(patch("harness.rollout.graphs.pool", lambda: None))
        stack.enter_context(patch("harness.backbone.presets.check_compilation", lambda *_: None))
        for module in ("backbone.wan", "backbone.block", "rollout.passes"):
            stack.enter_context(patch(f"harness.{module}.compiled", lambda function: function))
        yield tape
