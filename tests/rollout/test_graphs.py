"""Passes as graphs, recorded on the CPU (`tests/rollout/tape.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness import registry
from harness.backbone.request import BackboneRequest
from harness.errors import PresetError
from harness.rollout import graphs
from harness.verify.bench import Workbench
from tests.rollout.tape import Tape, taped

BOUNDED = [name for name in registry.found("strategies") if registry.strategy_class(name).bounded]
BY_HEAD = ("dummy_forcing",)
"""Strategies whose contexts differ by head on the tiny model; `forcing_kv` has no classes of heads for it."""


@pytest.fixture
def tape() -> Iterator[Tape]:
    with taped() as tape:
        yield tape


@pytest.mark.parametrize("name", BOUNDED)
def test_every_memory_gets_the_same_from_a_replay(name: str, tape: Tape) -> None:
    bench = Workbench(registry.strategy(name))
    switches = bench.switches(bench.chunks - 2)
    plain, graphed = (bench.latents(switches=switches, compile=how) for how in ("off", "graphs"))
    assert all(torch.equal(*pair) for pair in zip(plain, graphed, strict=True))
    if name in BY_HEAD:
        assert not tape.recorded
    else:
        assert 0 < tape.recorded <= graphs.MOST
        assert tape.replayed > tape.recorded


def test_rows_with_positions_of_their_own(tape: Tape) -> None:
    bench = Workbench(registry.strategy("infinity_rope"))
    plain, graphed = (bench.latents(seeds=(0, 1, 2), compile=how) for how in ("off", "graphs"))
    assert all(torch.equal(*pair) for pair in zip(plain, graphed, strict=True))
    assert tape.replayed


def test_a_long_rollout_records_no_more_than_a_short_one(tape: Tape) -> None:
    bench = Workbench(registry.strategy("deep_forcing"))
    recorded = []
    for more in (0, 6):
        tape.recorded = 0
        bench.latents(bench.chunks + more, compile="graphs")
        recorded.append(tape.recorded)
    # Denoising and commit passes at the two sizes that its contexts have in turn.
    assert recorded == [4, 4]


def test_more_shapes_than_graphs_run_without(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST", 1)
    bench = Workbench(registry.strategy("sliding_window"))
    plain, graphed = (bench.latents(compile=how) for how in ("off", "graphs"))
    assert all(torch.equal(*pair) for pair in zip(plain, graphed, strict=True))
    assert tape.recorded == 1


@pytest.mark.parametrize("options", [{"layout": "pass"}, {"grad": True}], ids=str)
def test_what_no_graph_can_do_runs_without(options: dict[str, Any], tape: Tape) -> None:
    bench = Workbench(registry.strategy("sliding_window"))
    plain, graphed = (bench.latents(compile=how, **options) for how in ("off", "graphs"))
    assert all(torch.equal(*pair) for pair in zip(plain, graphed, strict=True))
    assert not tape.recorded


@pytest.mark.parametrize(
    ("compile", "says"),
    [
        ("graphs", "compile 'graphs' needs a CUDA device, not 'cpu'; allowed here: off, blocks"),
        ("fast", "unknown compile 'fast'; allowed: off, blocks, graphs"),
    ],
)
def test_what_cannot_be_is_refused(compile: Any, says: str) -> None:
    with pytest.raises(PresetError, match=says):
        Workbench(registry.strategy("sliding_window")).latents(1, compile=compile)
    with pytest.raises(PresetError, match=says):
        registry.open_backbone(BackboneRequest(name="pocket", compile=compile))


def test_a_backbone_says_how_its_rollouts_run(tape: Tape) -> None:
    bench = Workbench(registry.strategy("sliding_window"))
    Workbench(bench.strategy, replace(bench.backbone, compile="graphs")).latents()
    assert tape.recorded
    assert registry.open_backbone(BackboneRequest(name="pocket", compile="blocks")).request().compile == "blocks"
