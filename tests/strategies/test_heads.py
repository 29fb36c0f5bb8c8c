"""Dummy Forcing and Forcing-KV beyond what the goldens and the oracle say: bad input, files, rows, plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import registry
from harness.backbone.presets import wan_1_3b
from harness.errors import CheckpointError, KnobError, PresetError
from harness.memory import Memory
from harness.plan import plan
from harness.registry import parse_strategy, strategy
from harness.rollout import rollout
from harness.verify.bench import Workbench
from strategies.dummy_forcing import DUMMY, FIRST, MID, decided
from strategies.forcing_kv import calibration
from strategies.forcing_kv.classes import static_heads
from tests import goldens, toy

SIZES = {"num_layers": 2, "num_heads": 2}
LAYER = {"static_head": [0], "dynamic_head": [1]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dummy_forcing.dummies=5", "dummy_forcing: 5 dummies of 4 heads; use 0 to 4"),
        ("dummy_forcing.context=0", "DummyForcing: knob context = 0 is not allowed; allowed: int >= 1"),
        ("dummy_forcing.start=0", "DummyForcing: knob start = 0 is not allowed; allowed: int >= 1"),
        ("dummy_forcing.rows=some", r"DummyForcing: knob rows = 'some' .*; allowed: all \| sampled"),
        ("dummy_forcing.on_switch=flush", r"DummyForcing: knob on_switch = 'flush' .*; allowed: recache \| keep"),
        ("videomla.policy=dummy_forcing", "LatentLayout does not hold the keys of each head apart, so contexts .*"),
        ("videomla.policy=forcing_kv", "LatentLayout does not hold the keys of each head apart, so contexts .*"),
        ("forcing_kv.temporal_context=4", r"forcing_kv: temporal_context = 4 is more than a chunk \(3 latent frames\)"),
        ("forcing_kv.dynamic_context=4", r"forcing_kv: dynamic_context = 4 is more than a chunk \(3 latent frames\)"),
        ("forcing_kv.patches=3", "forcing_kv: 3 patches do not divide the 4 tokens of a frame"),
        (
            "forcing_kv.keep=0.5",
            "forcing_kv: keep = 0.5 is 6 of 12 patches, and dynamic_context = 1 is 4 of them; give one of the two",
        ),
        ("forcing_kv.classes=no", r"ForcingKV: knob classes = 'no' is not allowed; allowed: a .json file, .* \| none"),
        ("forcing_kv.keep=0", "ForcingKV: knob keep = 0 is not allowed; allowed: .*"),
    ],
)
def test_bad_knobs_are_refused_in_one_line(text: str, reason: str) -> None:
    bench = Workbench(strategy("full"))

    def opened() -> Memory:
        chosen = parse_strategy(text)[1]
        return chosen.open(chosen.adapt(bench.backbone).memory_spec(latent_size=(4, 4)))

    with pytest.raises(KnobError, match=f"^{reason}$") as told:
        opened()
    assert "\n" not in str(told.value)


def written(folder: Path, content: Any) -> str:
    path = folder / "classes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", r"no file of head classes \("),
        ("[]", "no file of head classes .it is no JSON object"),
        ({"layers": {}}, "it names no layer"),
        ({"layers": [LAYER]}, "its layers are no JSON object"),
        ({"backbone": "longlive", **SIZES, "layers": {"1": LAYER}}, "head classes of 'longlive', not of workbench"),
        (
            {"num_layers": 30, "num_heads": 12, "layers": {"1": LAYER}},
            "head classes of 30 layers of 12 heads, and the model has 2 of 2",
        ),
        ({"layers": {"1": LAYER, "2": LAYER}}, "it has layer 2, and the model has 2 layers"),
        ({"layers": {"1": {"static_head": [0]}}}, "layer 1 has no lists of whole numbers static_head and dynamic_head"),
        (
            {"layers": {"1": {"static_head": [0], "dynamic_head": []}}},
            "layer 1 must have each of 2 heads once, static or dynamic; it lacks 1;",
        ),
        (
            {"layers": {"1": {"static_head": [0, 1], "dynamic_head": [1]}}},
            "layer 1 must have each of 2 heads once, static or dynamic; it has 0, 1, 1;",
        ),
        (
            {"layers": {"1": {"static_head": [0, 1], "dynamic_head": [2, 3]}}},
            "layer 1 must have each of 2 heads once, static or dynamic; it has 0, 1, 2, 3;",
        ),
    ],
)
def test_a_bad_file_of_head_classes_is_refused_in_one_line(tmp_path: Path, content: Any, reason: str) -> None:
    bench = Workbench(strategy("forcing_kv", classes=written(tmp_path, content)))
    with pytest.raises(CheckpointError, match=reason) as told:
        bench.roll(1)
    assert "horizon calibrate forcing_kv --backbone" in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(CheckpointError, match=reason):
        bench.strategy.weights(bench.backbone)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    bench = Workbench(strategy("forcing_kv", classes=str(tmp_path / "none.json")))
    with pytest.raises(CheckpointError, match=r"none\.json: no such file; make one with horizon calibrate forcing_kv"):
        bench.roll(1)


def test_the_released_form_of_a_file_is_read(tmp_path: Path) -> None:
    """Layers only; a layer that is not named is all dynamic."""
    spec = Workbench(strategy("full")).spec()
    file = written(tmp_path, {"layer_1": {"static_head": [1], "dynamic_head": [0]}})
    assert static_heads(file, spec) == ((), (1,))
    file = written(tmp_path, {"0": {"static_head": [], "dynamic_head": [1, 0]}})
    assert static_heads(file, spec) == ((), ())


def test_without_a_file_it_names_the_command() -> None:
    told = "forcing_kv needs a file of head classes for custom: make one with horizon calibrate forcing_kv --backbone"
    with pytest.raises(KnobError, match=told):
        rollout(
            goldens.model(),
            strategy("forcing_kv"),
            prompts=goldens.prompts()[0],
            latent_frames=6,
            latent_size=(6, 8),
            noise=goldens.noise(),
        )
    known = strategy("forcing_kv").weights(toy.backbone())
    assert known is not None
    assert (known.trained, known.about) == (
        False,
        "no head classes; horizon calibrate forcing_kv --backbone toy makes them",
    )


def test_random_weights_and_shapes_need_no_file() -> None:
    bench = Workbench(strategy("forcing_kv"))
    assert static_heads(None, bench.spec()) == ((0,), (0,))
    assert (
        static_heads(None, replace(bench.spec(), backbone="self-forcing", device=torch.device("meta"))) == ((0,),) * 2
    )


def test_the_file_that_ships_is_of_the_weights_that_ship() -> None:
    """Else make it anew: horizon calibrate forcing_kv --backbone pocket --install."""
    weights = strategy("forcing_kv").weights(registry.backbone("pocket"))
    assert weights is not None
    assert (weights.trained, weights.about) == (True, "head classes pocket.json")


def test_a_file_of_other_weights_is_reported(tmp_path: Path) -> None:
    pocket = registry.backbone("pocket")
    shipped = json.loads(calibration.shipped("pocket").read_text(encoding="utf-8"))
    chosen = strategy("forcing_kv", classes=written(tmp_path, shipped | {"weights": "0"}))
    weights = chosen.weights(pocket)
    assert weights is not None
    assert not weights.trained
    assert weights.about.startswith("head classes of other weights, classes.json; horizon calibrate forcing_kv")


def test_calibration_is_repeated_exactly_and_its_file_is_taken(tmp_path: Path) -> None:
    pocket = replace(registry.backbone("pocket"), trained_frames=15)
    seen: list[int] = []
    once, again = (
        calibration.calibrate(strategy("forcing_kv"), pocket, rollouts=2, seed=3, report=seen.append) for _ in range(2)
    )
    assert once == again
    assert seen == [1, 2, 1, 2]
    content = json.loads(once[0])
    assert torch.tensor(content["shares"]).shape == (4, 4)
    assert all(0 <= share <= 1 for layer in content["shares"] for share in layer)
    static = [[head for head, share in enumerate(layer) if share >= 0.8] for layer in content["shares"]]
    assert static == [content["layers"][str(layer)]["static_head"] for layer in range(4)]
    assert once[1] == f"{sum(map(len, static))} of 16 heads are static"
    assert static_heads(written(tmp_path, once[0]), pocket.memory_spec()) == tuple(map(tuple, static))


def test_a_backbone_without_prompts_cannot_be_calibrated() -> None:
    with pytest.raises(PresetError, match=r"^toy has no prompts of its own, so its heads cannot be calibrated .*"):
        calibration.shares(toy.backbone(), rollouts=1, seed=0, report=lambda done: None)


def test_classes_are_decided_by_row() -> None:
    """Rows whose layers have different numbers of each class."""
    bench, opened = Workbench(strategy("dummy_forcing", dummies=1)), list[Any]()
    seeds = (4, 9)
    both = bench.latents(5, watch=lambda memory: opened.append(memory) or memory, seeds=seeds)
    assert opened[0].classes[0] != opened[0].classes[1]
    for row, seed in enumerate(seeds):
        alone = bench.latents(5, watch=lambda memory: opened.append(memory) or memory, seeds=(seed,))
        assert opened[-1].classes == [opened[0].classes[row]]
        assert max((a[row : row + 1] - b).abs().max() for a, b in zip(both, alone, strict=True)) < 2e-5


def test_patches_are_chosen_by_row() -> None:
    bench, opened = Workbench(strategy("forcing_kv")), list[Any]()
    bench.latents(6, watch=lambda memory: opened.append(memory) or memory, seeds=(4, 5))
    assert opened[0].places.shape == (2, 4, 3)
    assert not torch.equal(*opened[0].places)


def test_classes_of_heads() -> None:
    shares = torch.tensor([[[[0.6, 0.1, 0.3, 0.0], [0.2, 0.5, 0.2, 0.1], [0.2, 0.4, 0.5, 0.9]]]])
    assert decided(shares, 0) == [[[FIRST, MID, FIRST, MID]]]
    assert decided(shares, 2) == [[[FIRST, MID, DUMMY, DUMMY]]]
    assert decided(shares, 4) == [[[DUMMY] * 4]]
    # Of shapes only: dummies are spread, all others keep most.
    assert decided(shares.to("meta"), 2) == [[[MID, DUMMY, MID, DUMMY]]]
    # Nothing was between: no mid heads, and no number that is none.
    shares[:, :, 1] = 0
    assert decided(shares, 1) == [[[FIRST, FIRST, FIRST, DUMMY]]]


def test_the_sample_of_query_rows_is_the_same_in_every_video() -> None:
    bench = Workbench(strategy("dummy_forcing", rows="sampled", start=2))
    memories: list[Any] = [bench.strategy.open(bench.spec(batch)) for batch in (1, 2)]
    drawn = [[memory.rows(layer, 12) for layer in range(2)] for memory in memories]
    assert all(map(torch.equal, *drawn))
    assert not torch.equal(*drawn[0])
    assert all(len(rows) == 4 and rows.min() >= 0 and rows.max() < 12 for rows in drawn[0])


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["dummy_forcing", "forcing_kv"])
def test_plans_at_wan_size(name: str) -> None:
    """Less work and fewer bytes than a window of 12, and no more for a longer video."""
    stage, size = wan_1_3b("meta"), (60, 104)
    ours, window = (plan(strategy(each), stage, size, 60) for each in (name, "sliding_window"))
    assert ours.flops_per_chunk < 0.85 * window.flops_per_chunk
    assert ours.cache_bytes < 0.3 * window.cache_bytes
    assert ours.peak_bytes < window.peak_bytes
    longer = plan(strategy(name), stage, size, 240)
    assert (longer.peak_bytes, longer.flops_per_chunk) == (ours.peak_bytes, ours.flops_per_chunk)


@pytest.mark.parametrize("name", ["dummy_forcing", "forcing_kv"])
def test_frames_beside_the_chunk_at_wan_size(name: str) -> None:
    """The table of the front page: frames of all heads that the bytes of a full memory are worth."""
    spec = wan_1_3b("meta").memory_spec()
    frames = strategy(name).footprint(spec, 60) / spec.bytes(spec.frame_tokens)
    assert frames == pytest.approx({"dummy_forcing": 2.0, "forcing_kv": (2 + 29 * 2.5) / 30}[name], rel=1e-3)


@pytest.mark.parametrize("name", ["dummy_forcing", "forcing_kv"])
def test_half_precision_is_drawn(name: str) -> None:
    bench = Workbench(strategy(name))
    bench.backbone.model = bench.backbone.model.to(torch.bfloat16)
    assert all(bool(latents.isfinite().all()) for latents in bench.latents(5))
