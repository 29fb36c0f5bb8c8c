"""Every window memory against the numbers that its authors' released code computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from harness.registry import strategy
from harness.rollout import rollout
from tests import goldens

TOLERANCE = 2e-5
pytestmark = goldens.needs_windows


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
    Case("longlive_switch14_noglobalsink", "attention_sink", SINK | {"on_switch": "recache_all"}, switch=(14, "smooth")),
    Case("memrope_eviction_w12_s3", "attention_sink", {"positions": "relative"}),
    Case("memrope_ema_w12_s3", "memrope"),
    Case("memrope_ema_w12_s3", "memrope", {"accumulator": "cache"}),
    Case("memrope_ema_adaptive_w12_s3", "memrope", {"pooling": "adaptive"}),
    Case("infinityrope_w6_s1", "infinity_rope"),
    Case("infinityrope_flush_w6_s1", "infinity_rope", switch=(12, "smooth")),
    Case("infinityrope_cut_w6_s1", "infinity_rope", switch=(12, "hardcut")),
]


def run(case: Case, **options: Any) -> list[Any]:
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
