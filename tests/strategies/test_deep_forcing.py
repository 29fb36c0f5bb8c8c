"""Deep Forcing beside its goldens and its oracle: knobs that do not fit, sizes, compilation, a frame a chunk."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import torch

from harness.backbone import wan
from harness.backbone.layout import DenseLayout
from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan
from harness.errors import HorizonTooLongError, KnobError
from harness.memory import At, Context, MemorySpec
from harness.memory.proxy import Watched
from harness.registry import parse_strategy, strategy
from harness.rollout import passes
from harness.rollout.request import laid_out_bytes
from harness.verify import run as machine
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench


def spec(chunk: int = 3) -> MemorySpec:
    return MemorySpec(2, DenseLayout(2, 12), 4, chunk, grid=(2, 2))


@pytest.mark.parametrize(
    ("knobs", "chunk", "message"),
    [
        ({"window": 20}, 3, "window 20 is no multiple of the chunk (3 latent frames); take 18 or 21"),
        (
            {"budget": 13},
            3,
            "budget 13 does not fit sink 10 + recent 4 and window 21; allowed: 14 to 21",
        ),
        ({"budget": 22}, 3, "budget 22 does not fit sink 10 + recent 4 and window 21; allowed: 14 to 21"),
        (
            {"recent": 2},
            3,
            "recent 2 does not fit a chunk of 3 latent frames, which it includes; allowed: 3 to 6",
        ),
        (
            {"recent": 7, "sink": 5},
            3,
            "recent 7 does not fit a chunk of 3 latent frames, which it includes; allowed: 3 to 6",
        ),
        (
            {"recent": 3, "window": 20},
            4,
            "recent 3 does not fit a chunk of 4 latent frames, which it includes; allowed: 4 to 8",
        ),
        (
            {"budget": 19},
            3,
            "with max_reuse 7, 5 frames of tokens are to be chosen each time and only 3 frames are new; use max_reuse "
            "none, or make room for at most 3 frames of chosen tokens",
        ),
        (
            {"compression": False, "sink": 19},
            3,
            "window 21 is smaller than sink 19 + chunk 3 = 22 latent frames, which it includes; raise window to at "
            "least 22 or lower sink",
        ),
    ],
)
def test_knobs_that_do_not_fit_are_one_line_that_says_what_is_allowed(
    knobs: dict[str, Any], chunk: int, message: str
) -> None:
    with pytest.raises(KnobError) as error:
        strategy("deep_forcing", **knobs).open(spec(chunk))
    assert str(error.value) == f"deep_forcing: {message}"


def test_knobs_that_do_nothing_are_not_checked() -> None:
    assert strategy("deep_forcing", compression=False, sink=14, recent=9, budget=1).open(spec()).capacity == 18


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("deep_forcing", [3, 6, 9, 12, 15, 18, 13, 16, 13, 16, 13]),
        ("deep_forcing.budget=15,sink=9", [3, 6, 9, 12, 15, 18, 12, 15, 18, 12, 15, 18]),
        ("deep_forcing.budget=20,max_reuse=none", [3, 6, 9, 12, 15, 18, 17, 17, 17]),
        ("deep_forcing.compression=false", [3, 6, 9, 12, 15, 18, 18, 18]),
    ],
)
def test_contexts_swing_and_their_passes_are_compiled(
    text: str, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once contexts repeat, all passes but the one that reads the query run compiled, at every size."""
    steady = set(sizes[6:])
    contexts: list[int] = []
    ran: dict[int, int] = {}

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        ran[contexts[-1]] = ran.get(contexts[-1], 0) + (function is not passes.fill)
        return function

    for module in (wan, passes):
        monkeypatch.setattr(module, "compiled", compiled)
    _, chosen = parse_strategy(text)

    class Seen(Watched):
        def recall(self, layer: int, query: torch.Tensor | None, at: At) -> Context:
            context = super().recall(layer, query, at)
            if layer == 0:
                contexts.append(context.frames)
            return context

    bench = Workbench(chosen)
    list(bench.roll(len(sizes) + 1, watch=Seen, compile=True))
    assert contexts == [0, *sizes]
    # Three noisy passes and the commit pass; the first one too where no query is read. The last chunk is not committed.
    each = 4 + (not chosen.reads_query)
    assert set(chosen.open(bench.spec()).steady) == steady
    expected = {size: each * contexts.count(size) - (size == contexts[-1]) for size in steady}
    assert ran == expected


def test_sink_only_at_slots_is_an_attention_sink() -> None:
    ours = Workbench(strategy("deep_forcing", compression=False, sink=14, positions="contiguous")).latents(10)
    theirs = Workbench(strategy("attention_sink", window=21, sink=14)).latents(10)
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.nightly
@pytest.mark.parametrize("text", ["deep_forcing", "deep_forcing.window=6,sink=1,budget=4,recent=2"])
def test_a_frame_a_chunk_keeps_every_invariant(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scramble(CausalWan(CONFIG)).requires_grad_(False)
    tiny = Backbone(model=model, chunk=1, latent_size=LATENT_SIZE, trained_frames=36)
    monkeypatch.setattr(machine, "Workbench", lambda chosen: Workbench(chosen, backbone=tiny))
    findings = machine.verify(parse_strategy(text)[1])
    assert [finding for finding in findings if finding.state == "fail"] == []


def test_a_video_is_refused_by_the_most_that_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """21 frames when the window first overflows, more than at its end."""
    chosen, bench = strategy("deep_forcing"), Workbench(strategy("deep_forcing"))
    at = bench.spec()
    needed = chosen.footprint(at, 21) + laid_out_bytes(at, 60, 18)
    assert chosen.footprint(at, 60) < chosen.footprint(at, 21)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=needed))
    bench.roll(20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=needed - 1))
    with pytest.raises(HorizonTooLongError):
        bench.roll(20)


def test_half_precision_runs() -> None:
    model = scramble(CausalWan(CONFIG)).to(torch.bfloat16).requires_grad_(False)
    bench = Workbench(strategy("deep_forcing", window=12, sink=3, budget=9), Backbone(model=model))
    assert all(latents.isfinite().all() for latents in bench.latents(8))
