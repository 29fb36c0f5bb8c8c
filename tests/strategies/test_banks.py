"""LongLive-RAG and MemFlow beyond what the goldens and the oracle say: bad input, their files, other chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan
from harness.errors import CheckpointError, KnobError
from harness.memory import Memory
from harness.plan import plan
from harness.registry import parse_strategy, strategy
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench
from strategies.longlive_rag.encoder import FrameEncoder, averaged
from strategies.longlive_rag.memory import Retrieval
from strategies.memflow.memory import Bank


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("longlive_rag.window=9", r"longlive_rag: window 9 is smaller than sink 1 \+ memory 6 \+ chunk 3 = 10 .*"),
        (
            "longlive_rag.sink=4,memory=6",
            r"longlive_rag: window 12 is smaller than sink 4 \+ memory 6 \+ chunk 3 = 13 .*",
        ),
        ("longlive_rag.descriptor=ae", "LongLiveRAG: descriptor ae with encoder None; descriptor ae needs the file .*"),
        ("longlive_rag.encoder=x.pt", "LongLiveRAG: descriptor avg_pool with encoder x.pt; .* and avg_pool none"),
        ("longlive_rag.descriptor=clip", r"LongLiveRAG: knob descriptor = 'clip' .*; allowed: avg_pool \| ae"),
        ("longlive_rag.on_switch=flush", "LongLiveRAG: knob on_switch = 'flush' .*"),
        ("longlive_rag.memory=-1", "LongLiveRAG: knob memory = -1 is not allowed; allowed: int >= 0"),
        ("memflow.window=5", r"memflow: window 5 is smaller than sink 3 \+ chunk 3 = 6 latent frames, .*"),
        ("memflow.bank=0", "MemFlow: knob bank = 0 is not allowed; allowed: int >= 1"),
        ("memflow.interval=0", "MemFlow: knob interval = 0 is not allowed; allowed: int >= 1"),
        ("memflow.pipeline=both", r"MemFlow: knob pipeline = 'both' .*; allowed: single \| interactive"),
        ("memflow.sma=3", "MemFlow: knob sma = 3 is not allowed; allowed: bool"),
        ("videomla.policy=memflow", "memflow scores turned keys, for which it needs a dense cache .*"),
    ],
)
def test_bad_knobs_are_refused_in_one_line(text: str, reason: str) -> None:
    backbone = Workbench(strategy("full")).backbone

    def opened() -> Memory:
        chosen = parse_strategy(text)[1]
        return chosen.open(chosen.adapt(backbone).memory_spec())

    with pytest.raises(KnobError, match=f"^{reason}$") as told:
        opened()
    assert "\n" not in str(told.value)


def noted(opened: list[Memory], memory: Memory) -> Memory:
    """Keep a memory where it can be looked at."""
    opened.append(memory)
    return memory


def encoder_file(folder: Path, channels: int = CONFIG.in_dim, **changes: Any) -> str:
    torch.manual_seed(0)
    state = {f"encoder.{name}": x for name, x in FrameEncoder(channels, (8, 6), 5).state_dict().items()}
    state |= {"decoder.fc.weight": torch.zeros(2, 2)} | {f"encoder.{name}": x for name, x in changes.items()}
    path = folder / "frames.safetensors"
    save_file({name: x for name, x in state.items() if x is not None}, path)
    return str(path)


def test_a_frame_encoder_chooses_and_is_named_by_its_contents(tmp_path: Path) -> None:
    chosen = strategy("longlive_rag", descriptor="ae", encoder=encoder_file(tmp_path), exclude=0, window=11)
    bench = Workbench(chosen)
    *_, last = bench.roll(9, seeds=(4, 5))
    archive = last.state()["archive"]
    described = torch.cat([x for name, x in archive.items() if name.endswith("descriptors")], 1)
    assert described.shape == (2, 27, 5)
    torch.testing.assert_close(described.norm(dim=-1), torch.ones(2, 27))
    assert sum(x.nbytes for x in archive.values()) == chosen.archive_bytes(bench.spec(batch=2), 27)
    weights = chosen.weights(bench.backbone)
    assert weights is not None
    assert weights.about == "frame encoder frames.safetensors"
    assert strategy("longlive_rag").weights(bench.backbone) is None
    other = chosen.weights(bench.backbone), encoder_file(tmp_path, **{"fc.bias": torch.ones(5)})
    assert chosen.weights(bench.backbone) != other[0]


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (lambda folder: str(folder / "none.pt"), CheckpointError, "no such file; give the frame encoder"),
        (
            lambda folder: encoder_file(folder, 16),
            KnobError,
            "encodes frames of 16 .* have 4; allowed: an encoder of 4 channels",
        ),
        (lambda folder: encoder_file(folder, **{"fc.weight": None}), CheckpointError, "holds no frame encoder"),
        (lambda folder: encoder_file(folder, **{"more.weight": torch.ones(1)}), CheckpointError, "Unexpected key"),
        (
            lambda folder: encoder_file(folder, **{"conv_stack.4.weight": torch.ones(6, 9, 3, 3)}),
            CheckpointError,
            r"not the frame encoder of LongLive-RAG: .*size mismatch: encoder\.conv_stack\.4\.weight is 6 x 9 x 3 x 3; "
            "allowed: 6 x 8 x 3 x 3$",
        ),
    ],
)
def test_a_bad_frame_encoder_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], str], error: type[Exception], reason: str
) -> None:
    bench = Workbench(strategy("longlive_rag", descriptor="ae", encoder=make(tmp_path)))
    with pytest.raises(error, match=reason) as told:
        bench.roll(1)
    assert "\n" not in str(told.value)


def test_means_of_half_precision_are_taken_in_float32() -> None:
    latents = torch.randn(1, 2, 3, 8, 8).to(torch.bfloat16)
    torch.testing.assert_close(averaged(latents), latents.float().mean((3, 4)), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["longlive_rag", "memflow", "memflow.sma=true"])
def test_frame_by_frame_models_are_drawn(name: str) -> None:
    model = scramble(CausalWan(CONFIG)).requires_grad_(False)
    bench = Workbench(parse_strategy(name)[1], Backbone(model=model, latent_size=LATENT_SIZE, chunk=1))
    opened: list[Memory] = []
    chunks = bench.latents(40, watch=partial(noted, opened), switches=bench.switches(25))
    assert all(bool(latents.isfinite().all()) for latents in chunks)
    assert {latents.shape[1] for latents in chunks} == {1}
    spec = replace(bench.spec(), batch=1)
    assert opened[0].nbytes() == bench.strategy.footprint(spec, 39)
    if isinstance(opened[0], Retrieval):
        assert len(opened[0].chosen[0]) == 6
    else:
        assert isinstance(opened[0], Bank)
        assert all(ids.shape == (1, 3) for ids in opened[0].ids)


def test_rows_choose_their_own_bank() -> None:
    opened: list[Memory] = []
    bench = Workbench(strategy("memflow", interval=1))
    both = bench.latents(20, watch=partial(noted, opened), seeds=(4, 5))
    assert isinstance(opened[0], Bank)
    assert any(not torch.equal(ids[0], ids[1]) for ids in opened[0].ids)
    for row, seed in enumerate((4, 5)):
        alone = bench.latents(20, seeds=(seed,))
        assert max((a[row : row + 1] - b).abs().max() for a, b in zip(both, alone, strict=True)) < 2e-5


def test_the_new_prompt_is_heard_by_the_second_chunk_only_unless_it_is_asked() -> None:
    """What the bank has before the first chunk of a prompt depends on that prompt only with switch_query=prompt."""
    for query, hears in (("released", False), ("prompt", True)):
        banks = []
        for seed in range(6):
            opened: list[Memory] = []
            bench = Workbench(strategy("memflow", interval=1, switch_query=query))
            switches = [(30, 9 * bench.prompt(seed), "smooth")]
            bench.latents(11, watch=partial(noted, opened), switches=switches)
            assert isinstance(opened[0], Bank)
            banks.append([ids.tolist() for ids in opened[0].ids])
        assert all(bank == banks[0] for bank in banks) is not hears


@pytest.mark.parametrize("name", ["longlive_rag", "memflow"])
def test_a_plan_tells_the_archive_apart(name: str) -> None:
    with torch.device("meta"):
        model = CausalWan(CONFIG).requires_grad_(False)
    stage = Backbone(model=model, latent_size=LATENT_SIZE)
    at, chosen = stage.memory_spec(), strategy(name)
    planned = plan(chosen, stage, LATENT_SIZE, 90)
    assert planned.cache_bytes == chosen.footprint(at, 87)
    assert planned.archive_bytes == chosen.archive_bytes(at, 87)
    assert (planned.archive_bytes > 0) == (name == "longlive_rag")
    # A longer video needs no more on the device.
    assert plan(chosen, stage, LATENT_SIZE, 120).peak_bytes == planned.peak_bytes
