"""Every window memory against the numbers that its authors' released code computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from harness.backbone import sampler
from harness.backbone.rope import Rope, head_radians, rotate
from harness.backbone.sampler import Sampler, sigma_table
from harness.backbone.wan import sinusoid
from harness.registry import strategy
from harness.rollout import Chunk, rollout
from harness.rollout.passes import Passes
from tests import goldens

TOLERANCE = 2e-5


@dataclass(frozen=True)
class Case:
    file: str
    strategy: str
    knobs: dict[str, Any] = field(default_factory=dict)
    frames: int = 24
    switch: tuple[int, str] | None = None


SINK = {"window": 12, "sink": 3, "positions": "absolute"}
CASES = [
    Case("sf_full", "full", frames=21),
    Case("sf_window9", "sliding_window", {"window": 9, "positions": "absolute"}),
    Case("sf_window9", "sliding_window", {"window": 9, "positions": "relative"}),
    Case("longlive_w12_s3", "attention_sink", SINK),
    Case("longlive_switch14_globalsink", "attention_sink", SINK | {"on_switch": "recache"}, switch=(14, "smooth")),
    Case(
        "longlive_switch14_noglobalsink", "attention_sink", SINK | {"on_switch": "recache_all"}, switch=(14, "smooth")
    ),
    Case("memrope_eviction_w12_s3", "attention_sink", {"positions": "relative"}),
    Case("memrope_ema_w12_s3", "memrope"),
    Case("memrope_ema_w12_s3", "memrope", {"accumulator": "cache"}),
    Case("memrope_ema_adaptive_w12_s3", "memrope", {"pooling": "adaptive"}),
    Case("infinityrope_w6_s1", "infinity_rope"),
    Case("infinityrope_flush_w6_s1", "infinity_rope", switch=(12, "smooth")),
    Case("infinityrope_cut_w6_s1", "infinity_rope", switch=(12, "hardcut")),
]


def run(case: Case, **options: Any) -> Iterator[Chunk]:
    first, second = goldens.prompts()
    switches = [(case.switch[0], second, case.switch[1])] if case.switch else []
    return rollout(
        goldens.model(),
        strategy(case.strategy, **case.knobs),
        prompts=first,
        latent_frames=case.frames,
        latent_size=(6, 8),
        noise=goldens.noise(),
        switches=switches,
        **options,
    )


@pytest.mark.parametrize("layout", ["chunk", "pass"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.knobs}")
def test_rollout_is_what_the_released_code_computes(case: Case, layout: str) -> None:
    latents = torch.cat([chunk.latents for chunk in run(case, layout=layout)], 1)
    torch.testing.assert_close(latents, goldens.load(case.file)["latents"], rtol=0, atol=TOLERANCE)


WITH_STEPS = {"sf_full", "longlive_w12_s3", "memrope_ema_w12_s3"}


@pytest.mark.parametrize("case", [case for case in CASES if case.file in WITH_STEPS], ids=str)
def test_every_denoising_step_is_right(case: Case) -> None:
    """x0 after each step, caught where the sampler converts the flow."""
    stored = goldens.load(case.file)
    steps: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        convert = sampler.to_clean

        def caught(*args: Any) -> torch.Tensor:
            steps.append(convert(*args))
            return steps[-1]

        patch.setattr(sampler, "to_clean", caught)
        assert len(list(run(case))) == case.frames // 3
    x0 = torch.stack(steps).view(-1, 4, *steps[0].shape)[:, :3, 0]
    torch.testing.assert_close(x0, stored["x0_steps"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.file in {"sf_window9", "longlive_w12_s3", "memrope_ema_w12_s3"}], ids=str
)
def test_final_cache(case: Case) -> None:
    """The stored caches are from before the next chunk's roll, hence compare the frames that are kept."""
    stored = goldens.load(case.file)
    *_, last = run(case)
    frames = last.state()["memory"]["frames"][0]
    window = stored["layer0_cache_k_final"].shape[0] // 12
    rope = Rope(head_radians(20), (3, 4))
    rotated = not case.file.startswith("memrope")
    sink = case.knobs.get("sink", 0 if case.file.startswith("sf") else 3)
    slots = {frame: window - (case.frames - frame) for frame in frames if frame >= sink} | {
        frame: frame for frame in frames if frame < sink
    }
    assert len(slots) == window - 3 - (2 if case.file.startswith("memrope") else 0)
    for frame, (keys, values) in frames.items():
        here = slice(slots[frame] * 12, slots[frame] * 12 + 12)
        if rotated:
            turned = rotate(keys[0], rope.frames([frame]))
        else:
            turned = keys[0]
        torch.testing.assert_close(turned[0], stored["layer0_cache_k_final"][here], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(values[0, 0], stored["layer0_cache_v_final"][here], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.strategy == "memrope"], ids=lambda case: f"{case.file}-{case.knobs}"
)
def test_memory_tokens(case: Case) -> None:
    """The released code updates at the next chunk's first pass, so its tokens of chunk b are ours after b - 1."""
    stored = goldens.load(case.file)
    ready = stored["ema_initialized"].tolist()
    assert ready == [False] * 4 + [True] * 4
    for chunk in run(case):
        averages = chunk.state()["memory"]["averages"][0]
        after = chunk.index + 1
        if after == len(ready):
            break
        assert bool(averages) == ready[after]
        for stream, (key, value) in enumerate(averages):
            for ours, theirs in ((key, "layer0_mem_k"), (value, "layer0_mem_v")):
                token = ours.expand(-1, -1, 12, -1, -1)[0, 0]
                torch.testing.assert_close(token, stored[theirs][after, stream], rtol=0, atol=TOLERANCE)


def test_single_pass() -> None:
    """The raw network output of the first chunk at each noise level, the context still empty."""
    stored, flows = goldens.load("sf_full"), []
    with pytest.MonkeyPatch.context() as patch:
        denoise = Passes.denoise

        def caught(self: Passes, *args: Any) -> torch.Tensor:
            flows.append(denoise(self, *args))
            return flows[-1]

        patch.setattr(Passes, "denoise", caught)
        next(run(CASES[0]))
    torch.testing.assert_close(torch.cat(flows), stored["flow_block0"], rtol=0, atol=TOLERANCE)


def test_components() -> None:
    stored = goldens.load("components")
    for shift in (5, 8):
        sigmas = sigma_table(shift).float()
        torch.testing.assert_close(sigmas, stored[f"sigmas_shift{shift}"], rtol=0, atol=1e-6)
        torch.testing.assert_close(1000 * sigmas, stored[f"timesteps_shift{shift}"], rtol=1e-6, atol=0)
    for width in (20, 128):
        rope, x = Rope(head_radians(width), (3, 4)), stored[f"rope_in_d{width}"]
        for name, positions in (("start7", [7, 8]), ("idx_0_11", [0, 11])):
            turned = rotate(x, rope.frames(positions))
            torch.testing.assert_close(turned, stored[f"rope_out_d{width}_{name}"], rtol=0, atol=1e-6)
    for width in (32, 256):
        embedded = sinusoid(stored["sin_emb_t"], width).float()
        torch.testing.assert_close(embedded, stored[f"sin_emb_{width}"], rtol=0, atol=1e-6)


def test_sampler_of_the_published_configuration() -> None:
    sampler = Sampler()
    assert sampler.sigmas == pytest.approx((1, 0.9375, 0.83333331, 0.625), abs=1e-8)
    assert sampler.timesteps == pytest.approx((1000, 937.5, 833.33331, 625), abs=1e-4)
