"""Invariants of every memory that are about bytes."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

from harness.memory import Memory
from harness.verify.bench import Workbench
from harness.verify.invariants import LONG_CHUNKS, SETTLES, BrokenError, NotApplicableError


def bounded_bytes(bench: Workbench) -> str:
    """The memory stops growing: it stays the same size, or repeats the sizes of the period that it declares."""
    if not bench.strategy.bounded:
        raise NotApplicableError("keeps everything, as declared")
    period = bench.strategy.period(bench.spec())
    # Every size of the period is seen four times at least, so that a long one hides no growth.
    long = max(LONG_CHUNKS, 4 * period)
    sizes = _sizes(bench, bench.chunks + SETTLES + long)
    settled = sizes[-long:]
    if settled[period:] != settled[:-period]:
        repeats = f" and do not repeat every {period}" if period > 1 else ""
        raise BrokenError(f"bytes go from {settled[0]} to {settled[-1]} over the last {long} chunks{repeats}")
    starts = range(1, bench.chunks, 2)
    scene = bench.strategy.scene_bytes(bench.spec())
    scene += bench.prompt(0).nbytes if scene else 0
    for number, size in enumerate(_sizes(bench, bench.chunks, switches=bench.switches(*starts))):
        most = max(sizes) + scene * sum(start <= number for start in starts)
        if size > most:
            raise BrokenError(f"with prompt switches, {size} bytes after chunk {number}; at most {most} are allowed")
    held = " and ".join(map(str, dict.fromkeys(settled[:period])))
    turns = f" in turn, every {period} chunks," if period > 1 else ""
    return f"{held} bytes{turns} over {long} chunks, {f'{scene} more' if scene else 'no more'} with each switch"


def planned_bytes(bench: Workbench) -> str:
    """What is allocated is what was planned, at every chunk boundary."""
    spec, sizes = bench.spec(batch=2), _sizes(bench, bench.chunks, seeds=(0, 1))
    for number, size in enumerate(sizes, 1):
        planned = bench.strategy.footprint(spec, number * bench.chunk)
        if planned != size:
            raise BrokenError(f"after chunk {number - 1} it holds {size} bytes, and {planned} were planned")
    return f"{len(sizes)} chunk boundaries, two rows"


def _sizes(bench: Workbench, chunks: int, **options: Any) -> list[int]:
    """Bytes held after each chunk's commit; BrokenError where the memory keeps alive what it does not name."""
    opened, sizes = [], []

    def caught(memory: Memory) -> Memory:
        opened.append(memory)
        return memory

    for chunk in bench.roll(chunks, watch=caught, **options):
        chunk.state()
        sizes.append(opened[0].nbytes())
        alive = _reachable_bytes(opened[0])
        if alive > sizes[-1]:
            raise BrokenError(f"after chunk {chunk.index} it keeps {alive} bytes alive and names {sizes[-1]} of them")
    return sizes


def _reachable_bytes(memory: Memory) -> int:
    """Bytes of all tensor storages that can be reached from the memory, whether it names them or not.

    The parameters of a network that it uses are not memory.
    """
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[object] = [vars(memory)]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType | nn.Module):
            continue
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
        else:
            waiting.extend(gc.get_referents(thing))
    return sum(storages.values())
