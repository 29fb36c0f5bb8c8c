"""Rolling Sink and EMA-Sink against the numbers that their authors' released code computes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.memory import Entries
from harness.registry import strategy
from harness.rollout import Chunk, rollout
from harness.rollout.noise import RepeatedNoise
from tests import goldens

TOLERANCE = 2e-5
EMA = {
    "emasink_default": {},
    "emasink_a0.9": {"alpha": 0.9},
    "emasink_a0.5": {"alpha": 0.5},
    "emasink_w12": {"window": 12},
    "emasink_w12_a0.9": {"window": 12, "alpha": 0.9},
}
ROLLING = [
    ("rollingsink_default", {}),
    ("rollingsink_default", {"positions": "absolute"}),
    ("rollingsink_repeated_noise", {}),
    ("rollingsink_w12", {"window": 12}),
    ("rollingsink_w12", {"window": 12, "positions": "absolute"}),
]


def run(name: str, knobs: dict[str, Any], frames: int, repeated: bool = False) -> Iterator[Chunk]:
    noise = goldens.sinks_noise()
    return rollout(
        goldens.model(),
        strategy(name, **knobs),
        prompts=goldens.prompts()[0],
        latent_frames=frames,
        latent_size=(6, 8),
        noise=RepeatedNoise(noise) if repeated else noise,
    )


def stored(file: str) -> tuple[int, Tensor]:
    """The first frame of the stored latents, and these."""
    (name,) = (name for name in goldens.load(file, goldens.SINKS) if name.startswith("latents"))
    first = int(name.split("_")[1]) if "_" in name else 0
    return first, goldens.load(file, goldens.SINKS)[name]


def check(made: Iterator[Chunk], file: str) -> None:
    """Raise AssertionError where latents differ from the stored ones."""
    first, latents = stored(file)
    found = torch.cat([chunk.latents for chunk in islice(made, first // 3, None)], 1)
    torch.testing.assert_close(found, latents, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("file", EMA)
def test_ema_sink_is_what_the_released_code_computes(file: str) -> None:
    check(run("ema_sink", EMA[file], 45), file)


@pytest.mark.parametrize(("file", "knobs"), ROLLING, ids=str)
def test_rolling_sink_is_what_the_released_code_computes(file: str, knobs: dict[str, Any]) -> None:
    check(run("rolling_sink", knobs, 75, repeated="repeated" in file), file)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("file", "name", "knobs"),
    [
        ("emasink_long", "ema_sink", {}),
        ("rollingsink_long", "rolling_sink", {}),
        ("rollingsink_long", "rolling_sink", {"positions": "absolute"}),
    ],
    ids=str,
)
def test_a_thousand_frames(file: str, name: str, knobs: dict[str, Any]) -> None:
    check(run(name, knobs, 1050), file)


@pytest.mark.parametrize("file", EMA)
def test_the_averages_are_those_of_the_released_code(file: str) -> None:
    """Of the last chunk's context: averaged keys and values, un-rotated; of one file of every chunk's."""
    golden = goldens.load(file, goldens.SINKS)
    states = [chunk.state()["memory"]["averages"][0] for chunk in run("ema_sink", EMA[file], 45)]

    def compare(frames: Any, keys: Tensor, values: Tensor) -> None:
        whole = Entries.cat([Entries(*tensors) for tensors in frames])
        for mine, theirs in zip(whole.tensors, (keys, values), strict=True):
            torch.testing.assert_close(mine[0].flatten(0, 1), theirs, rtol=0, atol=TOLERANCE)

    # What a chunk attends to is what the commit before it left.
    if "layer0_sink_k" in golden:
        for chunk in range(3, 15):
            compare(states[chunk - 1], golden["layer0_sink_k"][chunk], golden["layer0_sink_v"][chunk])
    else:
        compare(states[13], golden["layer0_sink_k_final"], golden["layer0_sink_v_final"])


@pytest.mark.parametrize(("file", "knobs"), ROLLING[::2], ids=str)
def test_the_slots_show_the_frames_of_the_released_code(file: str, knobs: dict[str, Any]) -> None:
    contexts = goldens.load(file, goldens.SINKS).get("context_frames")
    assert contexts is not None
    spec = goldens.model().memory_spec((3, 4), 3, 1)
    memory = strategy("rolling_sink", **knobs).open(spec)
    for start, golden in zip(range(0, 75, 3), contexts, strict=True):
        latest = start - 3
        seen = [id if id >= latest else memory.reflected(id) for id in range(max(0, start - memory.period), start)]
        assert seen == [frame for frame in golden.tolist() if frame >= 0]
