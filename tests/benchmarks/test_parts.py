"""Micro-benchmarks of the operations of every chunk, each at one size: milliseconds on a CPU.

`nox -s micro` times them, with pytest-benchmark's options behind --. Under xdist nothing is timed and each runs once.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from harness.backbone.block import SelfAttention
from harness.backbone.config import WanConfig
from harness.backbone.layout import DenseLayout, LaidOut, fill, room
from harness.backbone.rope import Rope, axis_pairs, head_radians, rotate
from harness.memory import At, Entries, MemorySpec
from harness.rollout.noise import PairedNoise
from strategies.echo_forcing import EchoForcing
from strategies.echo_forcing.compression import Calibration, Scoring
from strategies.echo_infinity.encoder import QueryMemoryEncoder, Shape
from strategies.memrope import MemRoPE
from strategies.videomla.attention import Evaluation, LatentAttention, Sizes
from strategies.videomla.initial import scatter
from tests.oracle import echo_forcing, echo_infinity

# A full garbage collection, with all that torch has imported, takes longer than any of these.
pytestmark = pytest.mark.benchmark(disable_gc=True)

CONFIG = WanConfig(dim=256, ffn_dim=512, num_heads=4, num_layers=1)
GRID, TOKENS, CHUNK, WINDOW = (10, 16), 160, 3, 12
CONTEXT = WINDOW - CHUNK
HEADS, CHANNELS = CONFIG.num_heads, CONFIG.head_dim
LAYOUT = DenseLayout(HEADS, CHANNELS)
SPEC = MemorySpec(1, LAYOUT, TOKENS, CHUNK)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_laying_a_context_out(benchmark: BenchmarkFixture) -> None:
    rope = Rope(head_radians(CHANNELS), GRID)
    slots = [
        (drawn(n, 1, 1, TOKENS, HEADS, CHANNELS), drawn(-n, 1, 1, TOKENS, HEADS, CHANNELS)) for n in range(CONTEXT)
    ]
    buffers = room(LAYOUT, 1, WINDOW * TOKENS, torch.float32, torch.device("cpu"))
    for buffer in buffers:
        buffer.fill_(torch.nan)
    benchmark(fill, LAYOUT, buffers, slots, rope.frames(range(CONTEXT)), None)
    for frame, (keys, values) in enumerate(slots):
        laid_keys, laid_values = (buffer[:, frame * TOKENS : (frame + 1) * TOKENS] for buffer in buffers)
        torch.testing.assert_close(laid_keys, rotate(keys[:, 0], rope.frames([frame])))
        assert torch.equal(laid_values, values[:, 0])
    # The room behind is the chunk's own.
    assert all(buffer[:, CONTEXT * TOKENS :].isnan().all() for buffer in buffers)


def test_rotation(benchmark: BenchmarkFixture) -> None:
    x = drawn(0, 1, WINDOW * TOKENS, HEADS, CHANNELS)
    turned = benchmark(rotate, x, Rope(head_radians(CHANNELS), GRID).frames(range(WINDOW)))
    frame, row, column = 7, 3, 5
    token = (frame * GRID[0] + row) * GRID[1] + column
    radians = [
        place * float(each)
        for place, axis in zip((frame, row, column), head_radians(CHANNELS), strict=True)
        for each in axis
    ]
    turns = torch.polar(torch.ones(len(radians)), torch.tensor(radians))
    by_hand = torch.view_as_real(torch.view_as_complex(x[0, token].unflatten(-1, (-1, 2))) * turns)
    torch.testing.assert_close(turned[0, token], by_hand.flatten(-2))


def test_paired_noise(benchmark: BenchmarkFixture) -> None:
    rows, shape = ((1, "a cat"), (2, "a dog")), torch.Size((CHUNK, 16, 30, 52))
    both = benchmark(PairedNoise(rows).initial, 5, (2, *shape))
    for row, noise in zip(rows, both, strict=True):
        assert torch.equal(noise[None], PairedNoise([row]).initial(5, torch.Size((1, *shape))))
    assert float(both.mean()) == pytest.approx(0, abs=0.02)
    assert float(both.std()) == pytest.approx(1, abs=0.02)


def test_memropes_averages(benchmark: BenchmarkFixture) -> None:
    """Every commit evicts three frames. Entries hold their frame's id, so that averages are sums by hand."""
    knobs = MemRoPE(window=WINDOW)
    memory = knobs.open(SPEC)
    frames = 0

    def chunk() -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal frames
        at = At(frames, CHUNK, 4, commit=True)
        frames += CHUNK
        ids = torch.arange(at.start, frames, dtype=torch.float32)[None, :, None, None, None]
        keys = ids.expand(1, -1, TOKENS, HEADS, CHANNELS).contiguous()
        return (0, Entries(keys, -keys), None, at), {}

    while frames < WINDOW:
        memory.remember(*chunk()[0])
    benchmark.pedantic(memory.remember, setup=chunk, rounds=200, warmup_rounds=5)
    slots = memory.recall(0, None, At(frames, CHUNK, 0, commit=False)).slots
    # Frames 3 and 4 made room for the memories; 5 to 7 began them.
    for slot, alpha in zip(slots[knobs.sink :], (knobs.alpha_long, knobs.alpha_short), strict=False):
        assert alpha is not None
        average = 6.0
        for middle in range(9, frames - 4, CHUNK):
            average += alpha * (middle - average)
        for part, sign in zip(slot.tensors, (1, -1), strict=True):
            torch.testing.assert_close(part, torch.full_like(part, sign * average), rtol=1e-5, atol=1e-5)


def test_echo_forcings_scores(benchmark: BenchmarkFixture) -> None:
    """As a chunk is scored with the defaults: all frames of the history but the newest, which are in sight anyway."""
    knobs = EchoForcing()
    window, nearest = knobs.window(SPEC), knobs.recent + 1
    scoring = Scoring(window.bit_length(), knobs.gate, knobs.sharpness, knobs.amplitude)
    keys = [drawn(frame, 1, TOKENS, HEADS, CHANNELS) for frame in range(knobs.history - knobs.recent)]
    queries = 1 + drawn(100, 1, window * TOKENS, HEADS, CHANNELS)
    recent = queries[:, : CHUNK * TOKENS].mean(1)
    calibration = Calibration.empty(queries, torch.float32)
    calibration.add(queries)
    scores = benchmark(scoring.scores, keys, calibration, recent, nearest)
    asked = paired(queries[0])
    for frame, token in ((0, 0), (8, 93), (len(keys) - 1, TOKENS - 1)):
        by_hand = echo_forcing.score(
            paired(keys[frame][0, token]).tolist(),
            asked.mean(0).tolist(),
            asked.abs().mean(0).tolist(),
            paired(recent[0]).tolist(),
            nearest + len(keys) - 1 - frame,
            [2**n for n in range(scoring.ahead)],
            axis_pairs(CHANNELS)[0],
            scoring.gate,
            scoring.sharpness,
            scoring.amplitude,
            scoring.fusion,
        )
        assert float(scores[0, frame * TOKENS + token]) == pytest.approx(by_hand, rel=1e-3, abs=1e-3)


def paired(x: Tensor) -> Tensor:
    """Neighbouring channels as complex numbers."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


@pytest.mark.parametrize("evaluation", ["explicit", "absorbed"])
@torch.no_grad()
def test_latent_attention(benchmark: BenchmarkFixture, evaluation: Evaluation) -> None:
    benchmark.group = "latent attention"
    sizes = Sizes.of(CONFIG, None, None, None)
    layer = LatentAttention(CONFIG, sizes, evaluation)
    twin = LatentAttention(CONFIG, sizes, "absorbed" if evaluation == "explicit" else "explicit")
    scatter(SelfAttention(CONFIG), layer, torch.Generator().manual_seed(0))
    twin.load_state_dict(layer.state_dict())
    buffers = tuple(drawn(n, 1, WINDOW * TOKENS, width) for n, width in enumerate((sizes.latent, sizes.rope)))
    context = LaidOut(buffers, Rope(layer.radians, GRID).frames(range(CONTEXT, WINDOW)), room=True)
    x = drawn(2, 1, CHUNK * TOKENS, CONFIG.dim)
    query, own = layer.query(x), layer.key_value(x)
    torch.testing.assert_close(benchmark(layer, query, own, context), twin(query, own, context), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_echo_infinitys_update(benchmark: BenchmarkFixture) -> None:
    shape = Shape(tokens=TOKENS)
    encoder = QueryMemoryEncoder(CONFIG, shape)
    for n, weight in enumerate(encoder.parameters()):
        weight.copy_(drawn(n, *weight.shape) / weight.shape[-1] ** 0.5 + (weight.ndim == 1))
    queries = drawn(100, 1, shape.frames * TOKENS, CONFIG.dim)
    keys, values = (drawn(n, 1, CHUNK * TOKENS, HEADS, CHANNELS) for n in (101, 102))
    updated = benchmark(encoder.updated, queries, keys, values, gated=True, residual=False)
    weights = {name: (x if x.ndim == 2 else x[None]).tolist() for name, x in encoder.state_dict().items()}
    # Plain loops are slow, and queries are independent of each other, so only the last one is compared.
    by_hand = echo_infinity.updated(
        weights, HEADS, queries[0, -1:].tolist(), keys[0].tolist(), values[0].tolist(), shape.layers
    )
    torch.testing.assert_close(updated[0, -1:], torch.tensor(by_hand), rtol=1e-3, atol=1e-4)
