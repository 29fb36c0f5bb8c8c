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

    def record(self, work: Callable[[], Any], device: torch.device, pool: object) -> tuple[Callable[[], None], Any]:
        made = work()
        self.recorded += 1
        # Nothing of a recording may be used before its first replay.
        for tensor in tree_leaves(made):
            if tensor is not None:
                tensor.fill_(torch.nan)

        def replay() -> None:
            self.replayed += 1
            for target, source in zip(tree_leaves(made), tree_leaves(work()), strict=True):
                if target is not None:
                    target.copy_(source)

        return replay, made


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
