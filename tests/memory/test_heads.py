"""Contexts by groups of heads: the same as masks, in every way to compute them, and what verify says of them."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.errors import KnobError, ShapeError
from harness.memory import At, Context, Entries, GroupedContext, Heads, Memory
from harness.memory.entries import Layout
from harness.memory.heads import HeadFrames, merged
from harness.memory.proxy import Watched
from harness.registry import strategy
from harness.verify import invariants
from harness.verify.bench import Workbench
from harness.verify.run import verify
from tests.lanes import pushed
from tests.memory.by_head import WindowOfHead

TOKENS, CHUNK = 4, 3
CHUNKS = 6


def masked(windows: tuple[int, ...]) -> Any:
    """Attention to all keys, of which each head sees the last `windows` frames and the chunk."""

    def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        query, keys, values = (x.transpose(1, 2) for x in (query, keys, values))
        seen = torch.ones(len(windows), 1, keys.shape[2], dtype=torch.bool)
        if keys.shape[2] % (TOKENS * CHUNK) == 0:  # else it is the text
            for head, window in enumerate(windows):
                seen[head, :, : max(0, keys.shape[2] - (window + CHUNK) * TOKENS)] = False
        return F.scaled_dot_product_attention(query, keys, values, seen).transpose(1, 2)

    return attend


def roll(windows: tuple[int, ...], **options: Any) -> Tensor:
    return torch.cat(Workbench(WindowOfHead(windows=windows)).latents(CHUNKS, **options), 1)


@pytest.mark.parametrize("windows", [(6, 3), (2, 7), (0, 4), (5, 5), (0, 0)])
def test_groups_are_what_masks_are(windows: tuple[int, ...]) -> None:
    bench = Workbench(strategy("full"))
    bench.backbone.model = bench.backbone.model.with_attention(masked(windows))
    full = torch.cat(bench.latents(CHUNKS), 1)
    assert (roll(windows) - full).abs().max() < 5e-6


def test_one_group_of_all_heads_is_a_plain_context() -> None:
    plain = torch.cat(Workbench(strategy("sliding_window", window=8, positions="absolute")).latents(CHUNKS), 1)
    assert (roll((5, 5)) - plain).abs().max() < 5e-6


def test_rows_may_differ_in_the_sizes_of_their_groups() -> None:
    both = torch.cat(Workbench(WindowOfHead(windows=(2, 4), more=2)).latents(CHUNKS, seeds=(4, 5)), 1)
    for row, windows in enumerate([(2, 4), (4, 6)]):
        assert (both[row : row + 1] - roll(windows, seeds=(4 + row,))).abs().max() < 5e-6


@pytest.mark.parametrize("options", [{"layout": "pass"}, {"grad": True}, {"layout": "pass", "grad": True}], ids=str)
def test_other_ways_to_lay_out_are_the_same(options: dict[str, Any]) -> None:
    torch.testing.assert_close(roll((6, 2), **options), roll((6, 2)), rtol=0, atol=2e-6)


def test_gradients_go_through_groups() -> None:
    bench = Workbench(WindowOfHead())
    weight = bench.backbone.model.layers[1].self_attn.k.weight.requires_grad_(True)
    *_, last = bench.roll(3, grad=True)
    last.latents.sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_compiled_passes_are_the_same_and_are_compiled_once() -> None:
    from torch._dynamo.utils import counters

    eager = roll((6, 2))
    running = iter(Workbench(WindowOfHead(windows=(6, 2))).roll(CHUNKS, compile=True))
    compiled = [next(running).latents]
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    compiled += [next(running).latents]
    graphs = counters["stats"]["unique_graphs"]  # the commit pass is one more
    compiled += [chunk.latents for chunk in running]
    assert counters["stats"]["unique_graphs"] == graphs
    torch.testing.assert_close(torch.cat(compiled, 1), eager, rtol=0, atol=2e-5)


@pytest.mark.parametrize("windows", pushed([(6, 3), (1, 1), (4, 0)], (6, 3)))
def test_verify_finds_nothing_in_a_memory_by_head(windows: tuple[int, ...]) -> None:
    findings = {finding.invariant: finding for finding in verify(WindowOfHead(windows=windows))}
    assert [finding for finding in findings.values() if finding.state == "fail"] == []
    assert "head by head and by no other head" in findings["kept entries are read"].detail


class Swapped(Watched):
    """Shows each of two heads what is held for the other one."""

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        context = super().recall(layer, query, at)
        assert isinstance(context, GroupedContext)
        (group,) = context.groups
        slots = tuple(slot.map(lambda x: x.flip(0)) for slot in group.slots)
        return GroupedContext((type(group)(group.heads, slots, group.positions),), context.start)


class Hidden(Watched):
    """Does not show a head the oldest frame that is held for it."""

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        context = super().recall(layer, query, at)
        assert isinstance(context, GroupedContext)
        groups = [type(each)(each.heads, each.slots[1:], each.positions[1:]) for each in context.groups]
        return GroupedContext((groups[0], *context.groups[1:]), context.start) if layer else context


class Overlooked(Watched):
    """Attends to an entry of one head after it was let go."""

    def __init__(self, inner: Memory) -> None:
        super().__init__(inner)
        self.early: dict[int, Entries] = {}

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        super().remember(layer, entries, query, at)
        self.early.setdefault(layer, self.inner.held_by_heads(layer)[0].frames[at.start + at.frames - 1])

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        context = super().recall(layer, query, at)
        assert isinstance(context, GroupedContext)
        if layer not in self.early or at.start < 12:
            return context
        first, *rest = context.groups
        shown = type(first)(first.heads, (*first.slots, self.early[layer]), [*first.positions, 0])
        return GroupedContext((shown, *rest), context.start)


@pytest.mark.parametrize(
    ("watch", "windows", "check", "reason"),
    [
        (Swapped, (2, 2), invariants.kept_is_read, r"frame 16, held for head \d of layer 0, is shown to head \d"),
        (
            Hidden,
            (3, 2),
            invariants.kept_is_read,
            r"frame \d+, held after 6 chunks, is never read in layer 1 by head 0",
        ),
        (Overlooked, (3, 2), invariants.evicted_not_read, "what was lent or let go is still read"),
    ],
)
def test_verify_finds_what_is_wrong_by_head(
    watch: type[Watched], windows: tuple[int, ...], check: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workbench, "chunks", 6)
    bench = Workbench(WindowOfHead(windows=windows))
    roll = bench.roll

    def broken(*args: Any, **options: Any) -> Any:
        inner = options.pop("watch", None)
        return roll(*args, watch=lambda memory: inner(watch(memory)) if inner else watch(memory), **options)

    monkeypatch.setattr(bench, "roll", broken)
    with pytest.raises(invariants.BrokenError, match=reason):
        check(bench)


class Missing(Watched):
    """Shows something to some heads only, or twice to the same ones."""

    change = staticmethod(lambda groups: groups)

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        context = super().recall(layer, query, at)
        assert isinstance(context, GroupedContext)
        return GroupedContext(tuple(self.change(context.groups)), context.start)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda groups: groups[:1], r"layer 0: the groups of a context must have each of 2 heads .* once: 0 in none"),
        (lambda groups: [*groups, groups[0]], r"layer 0: .*: 1 in two"),
        (lambda groups: [], "layer 0: .*: 0, 1 in none"),
    ],
)
def test_groups_must_have_every_head_once(change: Any, reason: str) -> None:
    watch = type("", (Missing,), {"change": staticmethod(change)})
    with pytest.raises(ShapeError, match=reason) as told:
        Workbench(WindowOfHead()).latents(2, watch=watch)
    assert "\n" not in str(told.value)


def test_a_layout_without_heads_refuses_groups_in_one_line() -> None:
    class Latent(Layout):
        shapes = ((3,),)

        def ready(self, tokens: Any, rotation: Any, weights: Any) -> Any: ...

        def keys(self, entries: Entries) -> Any: ...

    with pytest.raises(KnobError, match="Latent does not hold the keys of each head apart, so contexts cannot differ"):
        Latent().one_head()


def test_heads_are_split_and_merged_again() -> None:
    whole = Entries(torch.randn(2, 3, 4, 5, 6), torch.randn(2, 3, 4, 5, 6))
    numbers = torch.randperm(10).tolist()
    parts = [(heads, heads.split(whole)) for heads in (Heads(tuple(numbers[:3]), 5), Heads(tuple(numbers[3:]), 5))]
    assert [x.shape for x in parts[0][1].tensors] == [(3, 3, 4, 1, 6)] * 2
    assert torch.equal(parts[0][1].tensors[1][0, :, :, 0], whole.tensors[1][numbers[0] // 5, :, :, numbers[0] % 5])
    assert all(map(torch.equal, merged(parts, 2).tensors, whole.tensors))


def test_frames_of_heads_hold_copies_and_nothing_else() -> None:
    whole = Entries(torch.randn(1, 3, 4, 5, 6))
    frames = HeadFrames(Heads((1, 3), 5))
    frames.add(whole, 7)
    frames.keep_last(2)
    assert list(frames.kept) == [8, 9]
    assert all(x.untyped_storage().nbytes() == 2 * 4 * 6 * 4 for x in frames.stored())
    again = HeadFrames.loaded(frames.state_dict())
    assert again.heads == frames.heads
    assert all(map(torch.equal, again.stored(), frames.stored()))
