"""Invariants of every memory that are about bytes."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import Any

import torch
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
    spec, archived = bench.spec(batch=2), list[int]()
    sizes = _sizes(bench, bench.chunks, archived, seeds=(0, 1))
    for number, (size, away) in enumerate(zip(sizes, archived, strict=True), 1):
        planned = bench.strategy.footprint(spec, number * bench.chunk)
        if size > planned or (size < planned and not bench.strategy.footprint_is_most):
            raise BrokenError(f"after chunk {number - 1} it holds {size} bytes, and {planned} were planned")
        planned = bench.strategy.archive_bytes(spec, number * bench.chunk)
        if planned != away:
            raise BrokenError(f"after chunk {number - 1} it has archived {away} bytes, and {planned} were planned")
    return f"{len(sizes)} chunk boundaries, two rows" + (f", {archived[-1]} archived bytes" if archived[-1] else "")


def _sizes(bench: Workbench, chunks: int, archived: list[int] | None = None, **options: Any) -> list[int]:
    """Bytes held after each chunk's commit; BrokenError where the memory keeps alive what it does not name, or changes
    what it has archived. archived: gets the bytes of the archive."""
    opened, sizes = [], []
    known: list[tuple[str, Tensor]] = []

    def caught(memory: Memory) -> Memory:
        opened.append(memory)
        return memory

    for chunk in bench.roll(chunks, watch=caught, **options):
        chunk.state()
        sizes.append(opened[0].nbytes())
        named = sizes[-1] + opened[0].archive_nbytes()
        alive = _reachable_bytes(opened[0])
        if alive > named:
            raise BrokenError(f"after chunk {chunk.index} it keeps {alive} bytes alive and names {named} of them")
        archive = list(opened[0].archived().items())
        if len(archive) < len(known) or not all(map(_is_same, archive, known)):
            raise BrokenError(f"after chunk {chunk.index} what it had archived is not what it was")
        known += [(name, x.clone()) for name, x in archive[len(known) :]]
        if archived is not None:
            archived.append(opened[0].archive_nbytes())
    return sizes


def _is_same(one: tuple[str, Tensor], other: tuple[str, Tensor]) -> bool:
    return one[0] == other[0] and torch.equal(one[1], other[1])


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
