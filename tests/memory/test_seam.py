"""Forms of a context, and calls of the memory's verbs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.backbone.block import DenseLayout
from harness.backbone.rope import Rope, head_radians
from harness.errors import DtypeError
from harness.memory import At, Context, Entries, Memory, MemorySpec
from harness.memory.proxy import Watched
from harness.registry import strategy
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench

GRID = CONFIG.grid(LATENT_SIZE)
CHUNKS = 6


class Recast(Watched):
    """A memory whose contexts are said in another way, through `recast`."""

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        return self.recast(super().recall(layer, query, at))

    def recast(self, context: Context) -> Context:
        raise NotImplementedError


class AsTokens(Recast):
    def recast(self, context: Context) -> Context:
        places = torch.cartesian_prod(
            torch.tensor(list(context.positions), dtype=torch.int64), *map(torch.arange, GRID)
        )
        return dataclasses.replace(context, positions=places[None].expand(2, -1, -1))


class StartPerRow(Recast):
    def recast(self, context: Context) -> Context:
        return dataclasses.replace(context, start=torch.tensor([context.start] * 2))


class UnitWeights(Recast):
    def recast(self, context: Context) -> Context:
        return dataclasses.replace(context, weights=torch.ones(2, context.frames * GRID[0] * GRID[1]))


class Backwards(Recast):
    def recast(self, context: Context) -> Context:
        return dataclasses.replace(context, slots=context.slots[::-1], positions=list(context.positions)[::-1])


class OneSlot(Recast):
    def recast(self, context: Context) -> Context:
        return dataclasses.replace(context, slots=(Entries.cat(context.slots),) if context.slots else ())


@pytest.mark.parametrize("twin", [AsTokens, StartPerRow, UnitWeights, Backwards, OneSlot])
@pytest.mark.parametrize("layout", ["chunk", "pass"])
def test_one_context_said_in_two_ways(twin: type[Recast], layout: str) -> None:
    bench = Workbench(strategy("attention_sink", window=9, sink=1, positions="absolute"))
    plain = bench.latents(CHUNKS, seeds=(0, 1))
    other = bench.latents(CHUNKS, seeds=(0, 1), watch=twin, layout=layout)
    torch.testing.assert_close(torch.cat(other, 1), torch.cat(plain, 1), rtol=0, atol=2e-5)


def test_weights_scale_keys_and_values() -> None:
    layout, rope = DenseLayout(2, 12), Rope(head_radians(12), GRID)
    keys, values = torch.randn(2, 2, 12, 2, 12)
    weights = torch.rand(2, 12)
    rotation = rope.frames([0, 5, 9])
    plain = layout.ready((keys, values), rotation, None)
    scaled = layout.ready((keys, values), rotation, weights)
    for ours, theirs in zip(scaled, plain, strict=True):
        torch.testing.assert_close(ours, theirs * weights[:, :, None, None])


def test_rows_may_start_at_different_ids() -> None:
    """Row 1 stands elsewhere; row 0 must not notice."""
    bench = Workbench(strategy("sliding_window", positions="absolute"))

    class Apart(Recast):
        def recast(self, context: Context) -> Context:
            return dataclasses.replace(context, start=torch.tensor([context.start, context.start + 7]))

    plain = torch.cat(bench.latents(CHUNKS, seeds=(0, 1)), 1)
    apart = torch.cat(bench.latents(CHUNKS, seeds=(0, 1), watch=Apart), 1)
    torch.testing.assert_close(apart[0], plain[0], rtol=0, atol=2e-5)
    assert (apart[1] - plain[1]).abs().max() > 1e-3


@pytest.mark.parametrize("layout", ["chunk", "pass"])
def test_a_strategy_that_reads_the_query_gets_it(layout: str) -> None:
    """The un-rotated query of each layer, in the first pass and on commit; the video is the same either way."""
    reads = strategy("sliding_window", window=6)
    object.__setattr__(reads, "reads_query", True)
    bench = Workbench(reads)
    seen: list[tuple[str, int, At, Tensor]] = []

    class Reader(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            assert query is not None
            seen.append(("recall", layer, at, query))
            return super().recall(layer, query, at)

        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            assert query is not None
            seen.append(("remember", layer, at, query))
            super().remember(layer, entries, query, at)

    ours = bench.latents(CHUNKS, watch=Reader, layout=layout)
    plain = Workbench(strategy("sliding_window", window=6)).latents(CHUNKS)
    torch.testing.assert_close(torch.cat(ours, 1), torch.cat(plain, 1), rtol=0, atol=1e-6)
    assert {query.shape for *_, query in seen} == {(1, 12, CONFIG.num_heads, CONFIG.head_dim)}
    assert [(verb, layer, at.pass_index) for verb, layer, at, _ in seen[:4]] == [
        ("recall", 0, 0),
        ("recall", 1, 0),
        ("remember", 0, 4),
        ("remember", 1, 4),
    ]


def test_every_layer_recalls_for_initial_latents() -> None:
    """Their only pass is the commit pass, of which the last layer computes no more than its entries."""
    reads = strategy("sliding_window")
    object.__setattr__(reads, "reads_query", True)
    bench = Workbench(reads)
    recalled: list[tuple[int, int, int]] = []

    class Reader(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            assert query is not None
            recalled.append((at.start, layer, at.pass_index))
            return super().recall(layer, query, at)

    initial = torch.randn(1, 6, CONFIG.in_dim, *LATENT_SIZE, generator=torch.Generator().manual_seed(0))
    bench.latents(3, initial=initial, watch=Reader)
    assert recalled == [(start, layer, 0) for start in (0, 3, 6) for layer in range(bench.layers)]


def test_verbs_are_called_once_a_chunk_and_again_when_stale() -> None:
    calls: list[tuple[str, int, int, int, bool]] = []

    class Stale(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
            assert query is None
            calls.append(("recall", layer, *at[1:]))
            return super().recall(layer, query, at)

        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            calls.append(("remember", layer, *at[1:]))
            super().remember(layer, entries, query, at)

        def stale(self, pass_index: int) -> bool:
            return pass_index == 2

    bench = Workbench(strategy("sliding_window"))
    *_, last = bench.roll(1, watch=Stale)
    last.state()
    assert calls == [
        *(("recall", layer, 3, step, False) for step in (0, 2) for layer in (0, 1)),
        *(("remember", layer, 3, 4, True) for layer in (0, 1)),
    ]


def test_entries_are_counted_by_the_storage_they_pin() -> None:
    class Views(Watched):
        def stored(self) -> Any:
            return [self.whole[:, :1], self.whole[:, 1:2], torch.zeros(1, 5).expand(7, 5)]

        whole = torch.zeros(1, 6, 4)

    bench = Workbench(strategy("full"))
    memory: Memory = Views(bench.strategy.open(bench.spec()))
    assert memory.nbytes() == 6 * 4 * 4 + 5 * 4


def test_a_memory_cannot_hold_integers() -> None:
    with pytest.raises(DtypeError, match="int8; allowed: float32, bfloat16"):
        MemorySpec(1, DenseLayout(2, 12), 4, 3, dtype=torch.int8)
