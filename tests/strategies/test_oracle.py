"""Whole rollouts against plain loops written from the papers: random sizes, knobs, switches and horizons."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.backbone.wan import WanConfig
from tests.cases import cases
from tests.strategies.modes import MODES, Mode, knobs
from tests.strategies.rollouts import TOLERANCES, Video, both, videos

SMALL = WanConfig(
    dim=12, ffn_dim=8, num_heads=1, num_layers=2, in_dim=4, out_dim=4, text_dim=8, text_len=3, freq_dim=16,
    patch_size=(1, 1, 1),
)  # fmt: skip


def check(mode: Mode, video: Video, chosen: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise AssertionError where the package and the oracle differ."""
    ours, theirs = both(mode, video, chosen, options)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCES[video.dtype])


@pytest.mark.parametrize("mode", MODES, ids=str)
@cases(3)
@given(data=st.data())
def test_rollout_is_what_the_oracle_computes(mode: Mode, data: st.DataObject) -> None:
    video = data.draw(videos(mode), label="video")
    sizes = (video.config.num_layers, video.config.dim, video.config.head_dim)
    chosen = data.draw(knobs(mode, video.chunk, *sizes), label="knobs")
    options = {"layout": data.draw(st.sampled_from(["chunk", "pass"]), label="layout")}
    if mode.strategy in ("memrope", "ema_sink"):
        options["accumulator"] = data.draw(st.sampled_from(["float32", "cache"]))
    if mode.strategy == "videomla":
        options["evaluation"] = mode.fixed["evaluation"]
    check(mode, video, chosen, options)


FOUND: dict[str, tuple[Mode, int, int, Any, dict[str, Any]]] = {
    # Anchors that the roll puts back have their full weight; they had the faded one of the carried frame.
    "carried_frames_roll": (
        Mode("echo_forcing"),
        3,
        14,
        ((1, "recall"),),
        {"anchors": 4, "rolling_cycle": 2, "compressed": 1, "recall_decay": (0.2, 0.9), "recall_drop_after": 0},
    ),
    # "resink" carries the first frame that the old scene's last chunk saw; it was the first one of the chunk after it.
    "resink_of_rolling_anchors": (
        Mode("echo_forcing"),
        3,
        12,
        ((27, "hardcut"),),
        {"anchors": 6, "rolling_cycle": 2, "hardcut_source": "resink"},
    ),
    "resink_of_a_window_without_sink": (
        Mode("echo_forcing"),
        3,
        12,
        ((27, "smooth"),),
        {"hierarchy": False, "sink": 0, "anchors": 3, "rolling_cycle": 0, "smooth_source": "resink"},
    ),
    # A scene shorter than old_recent is carried whole; all but its last frames were left out.
    "scene_shorter_than_what_is_carried": (
        Mode("echo_forcing"),
        2,
        4,
        ((1, "hardcut"), (3, "smooth")),
        {"anchors": 4, "rolling_cycle": 1, "old_recent": 3},
    ),
    # Alphas by token could not be applied to a latent entry, which has no heads.
    "adaptive_averages_of_latents": (
        Mode("videomla"),
        3,
        8,
        (),
        {"policy": "memrope", "window": 8, "sink": 1, "alpha_short": 0.15, "pooling": "adaptive", "init": "released"},
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_random_cases_have_found(name: str) -> None:
    """Mode, latent frames of a chunk, chunks, switches and knobs that once differed."""
    mode, chunk, chunks, switches, chosen = FOUND[name]
    video = Video(SMALL, chunk, False, (1000, 500), 5.0, chunks, 0, (2, 2), 1, switches, 1, "float64")
    check(mode, video, chosen, {"layout": "chunk"})
