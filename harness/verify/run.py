"""Run the invariants of a memory on any strategy, and say what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from harness.errors import CheckpointError, HorizonTooLongError, KnobError
from harness.memory import Strategy
from harness.verify import byte_invariants, invariants
from harness.verify.bench import Workbench
from harness.verify.invariants import BrokenError, NotApplicableError


@dataclass(frozen=True)
class Finding:
    """What a check found; "n/a" where the invariant does not apply."""

    invariant: str
    state: Literal["pass", "fail", "n/a"]
    detail: str


def verify(strategy: Strategy) -> list[Finding]:
    """Run every invariant on a strategy, in this process, on the CPU; takes seconds.

    Raises KnobError where the knobs do not fit a chunk of 3, HorizonTooLongError where a window does not fit here.
    """
    bench = Workbench(strategy)
    threads = torch.get_num_threads()
    # Tensors this small are many times slower on several threads than on one.
    torch.set_num_threads(1)
    try:
        return [_run(name, check, bench) for name, check in CHECKS.items()]
    finally:
        torch.set_num_threads(threads)


def _run(name: str, check: Callable[[Workbench], str], bench: Workbench) -> Finding:
    try:
        return Finding(name, "pass", check(bench))
    except NotApplicableError as reason:
        return Finding(name, "n/a", str(reason))
    except BrokenError as broken:
        return Finding(name, "fail", str(broken))
    except (KnobError, HorizonTooLongError, CheckpointError):
        raise
    except Exception as error:
        # A third party's memory may raise anything; its name and message are the finding.
        return Finding(name, "fail", f"raised {type(error).__name__}: {error}")


CHECKS: dict[str, Callable[[Workbench], str]] = {
    "prefix causality": invariants.prefix_causality,
    "equal to full attention until eviction": invariants.equal_to_full,
    "bounded bytes": byte_invariants.bounded_bytes,
    "planned bytes = allocated bytes": byte_invariants.planned_bytes,
    "evicted entries are not read": invariants.evicted_not_read,
    "kept entries are read": invariants.kept_is_read,
    "two rollouts share nothing": invariants.share_nothing,
    "positions inside the claimed range": invariants.positions_in_range,
    "defined at a prompt switch": invariants.defined_at_switch,
    "same seed, same bits": invariants.same_seed,
    "stop and resume, same bits": invariants.resume_anywhere,
    "a batch of two = two batches of one": invariants.batch_of_two,
}
