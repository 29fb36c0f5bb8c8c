"""Counts of operations, bytes and live memory, against torch's own counter and against sums by hand."""

import gc

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from harness import registry
from harness.measure.counting import counted, sketched, weighed
from harness.plan.planning import _chunk
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(registry.found("strategies")))
def test_operations_are_those_of_torchs_counter(name):
    """In a chunk of every strategy, on meta: a CPU's attention kernel is not in torch's table."""
    with torch.device("meta"):
        bench = Workbench(registry.strategy(name))
    bench.backbone.model.to("meta")
    counts = []
    for count in (counted, lambda: FlopCounterMode(display=False)):
        running = iter(bench.roll(14))
        with sketched():
            for _ in range(12):
                next(running)
        with count() as found:
            next(running)
        counts.append(found.flops if count is counted else found.get_total_flops())
    assert counts[0] > 0
    assert counts[0] == pytest.approx(counts[1], rel=0.01)


def test_attention_on_paper_is_one_piece_of_work():
    query, keys = torch.empty(1, 2, 6, 8, device="meta"), torch.empty(1, 2, 10, 8, device="meta")
    with counted() as count:
        out = F.scaled_dot_product_attention(query, keys, keys)
    assert out.shape == query.shape
    (work,) = count.work
    assert (work.name, work.flops) == ("attention", 2 * 2 * 2 * 6 * 10 * 8)
    assert work.bytes == 4 * 2 * 8 * (6 + 10 + 10 + 6)


def test_a_product_reads_and_writes_its_matrices_once():
    left, right = torch.ones(3, 4), torch.ones(4, 5)
    with counted() as count:
        left @ right
    assert (count.flops, count.bytes) == (2 * 3 * 4 * 5, 4 * (12 + 20 + 15))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("mode", [counted, weighed])
def test_peak_is_what_was_alive_at_once_beyond_the_beginning(mode, device):
    old = torch.ones(1000, device=device)
    with mode() as count:
        first = old + 1
        second = first * 2
        del first
        third = second.view(10, 100).t()[2:]
        fourth = third + 1
        del old
        fifth = torch.zeros(700, device=device)
    # second, fourth and first at once; a view is nothing, and what went made room for the fifth.
    assert count.peak_bytes == 4 * 2000
    del second, third, fourth, fifth


@pytest.mark.parametrize("mode", [counted, weighed])
def test_tensors_without_storage_are_nothing_to_stumble_over(mode):
    elsewhere = torch.eye(3).to_sparse()
    with mode() as count:
        torch.zeros(5) + elsewhere.to_dense().sum()
    assert count.peak_bytes >= 20


def test_sketched_functions_have_the_shapes_of_the_true_ones():
    x, weight = torch.empty(2, 3, 8, device="meta"), torch.empty(5, 8, device="meta")
    query = torch.empty(1, 2, 6, 8, device="meta")
    calls = [
        lambda: F.linear(x, weight), lambda: F.layer_norm(x, (8,)), lambda: F.rms_norm(x, (8,)), lambda: F.gelu(x),
        lambda: F.scaled_dot_product_attention(query, query, query),
    ]  # fmt: skip
    true = [call().shape for call in calls]
    with sketched():
        assert [call().shape for call in calls] == true
    with sketched():
        assert torch.equal(F.gelu(torch.ones(2)), torch._C._nn.gelu(torch.ones(2)))


def test_a_plan_of_a_real_chunk_has_the_memory_that_the_real_chunk_takes():
    """The same chunk with contents: only the attention kernel's own notes are not on paper."""
    bench = Workbench(registry.strategy("memrope"))
    running = iter(bench.roll(12))
    for _ in range(10):
        next(running)
    with weighed() as real:
        next(running)
    with torch.device("meta"):
        paper = Workbench(registry.strategy("memrope"))
    paper.backbone.model.to("meta")
    _, planned = _chunk(paper.strategy, paper.backbone, LATENT_SIZE, 33)
    assert CONFIG.num_layers == 2
    assert planned == pytest.approx(real.peak_bytes, rel=0.05)


@pytest.mark.parametrize("mode", [counted, weighed])
def test_what_nobody_can_reach_any_more_is_not_counted(mode):
    """A circle of objects that holds a tensor goes when Python collects it, which may be in the middle of a count."""
    gc.disable()
    try:
        circle = [torch.zeros(1_000_000)]
        circle.append(circle)
        del circle
        with mode() as count:
            torch.zeros(10)
            gc.collect()
            kept = torch.zeros(1000)
    finally:
        gc.enable()
    assert count.peak_bytes == kept.nbytes
