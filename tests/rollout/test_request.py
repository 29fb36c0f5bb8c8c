"""Every bad request is refused at the call of `rollout`, before anything is computed, in one line that helps."""

from __future__ import annotations

import types
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backbone.layout import DenseLayout
from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan, WanConfig
from harness.errors import (
    DtypeError,
    HorizonError,
    HorizonTooLongError,
    KnobError,
    NotFiniteError,
    PresetError,
    ShapeError,
    SwitchError,
)
from harness.memory import MemorySpec, Strategy
from harness.rollout import EncodedCue, rollout
from harness.rollout.noise import PairedNoise
from harness.verify.bench import CONFIG
from strategies.attention_sink import AttentionSink
from strategies.full import Full
from strategies.infinity_rope import InfinityRope
from strategies.memrope import MemRoPE
from strategies.sliding_window import SlidingWindow

MODEL = scramble(CausalWan(CONFIG)).requires_grad_(False)
BATCH = 2


def prompts(seed: int = 0, batch: int = BATCH) -> Tensor:
    return torch.randn(batch, 3, CONFIG.text_dim, generator=torch.Generator().manual_seed(seed))


def initial(frames: int = 3) -> Tensor:
    return torch.randn(BATCH, frames, CONFIG.in_dim, 4, 4, generator=torch.Generator().manual_seed(1))


def asked(**changes: Any) -> Any:
    """A rollout that can be served, but for `changes`."""
    options: dict[str, Any] = {
        "backbone": Backbone(model=MODEL),
        "strategy": Full(),
        "prompts": prompts(),
        "latent_frames": 12,
        "latent_size": (4, 4),
        "noise": PairedNoise([(row, "request") for row in range(BATCH)]),
    } | changes
    return rollout(options.pop("backbone"), options.pop("strategy"), **options)


def refused(error: type[HorizonError], **changes: Any) -> str:
    """The message of the refusal, which comes before anything is asked for."""
    with pytest.raises(error) as caught:
        asked(**changes)
    assert type(caught.value) is error
    message = str(caught.value)
    assert "\n" not in message
    return message


def lengths(**changes: Any) -> list[int]:
    return [chunk.latents.shape[1] for chunk in asked(**changes)]


def independent() -> Backbone:
    return Backbone(model=MODEL, independent_first_frame=True)


def test_what_is_asked_for_is_served() -> None:
    """Otherwise a refusal below could have another reason."""
    assert lengths() == [3] * 4
    assert lengths(initial=initial(6), switches=[(3, prompts(1), "smooth"), (7, prompts(2), "recall", ["x", "y"])]) == [
        3,
        3,
    ]
    assert lengths(backbone=independent(), latent_frames=7, texts=["a", "b"]) == [1, 3, 3]


@pytest.mark.parametrize("texts", [None, ["x", "y"]])
def test_a_switch_may_be_a_cue_or_its_fields_as_a_tuple(texts: list[str] | None) -> None:
    cue = EncodedCue(7, prompts(2), "recall", texts)
    as_tuple = (7, prompts(2), "recall", texts) if texts else (7, prompts(2), "recall")
    one, other = ([chunk.latents for chunk in asked(switches=[switch])] for switch in (cue, as_tuple))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(one, other, strict=True))
    assert "unknown kind 'fade'" in refused(SwitchError, switches=[EncodedCue(7, prompts(2), "fade")])  # type: ignore[arg-type]
    assert not torch.equal(one[-1], list(asked())[-1].latents)


@pytest.mark.parametrize(
    "shape", [(3, 8), (1, 2, 3, 8), (2, 5, 8), (2, 0, 8), (2, 3, 7), (2, 3, 9), (0, 3, 8)], ids=str
)
def test_prompts_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    message = refused(ShapeError, prompts=torch.zeros(shape))
    assert str(list(shape)) in message
    assert "at most 4 tokens, 8]" in message


@pytest.mark.parametrize("shape", [(1, 3, 8), (3, 3, 8), (2, 5, 8), (2, 3, 9), (3, 8)], ids=str)
def test_prompts_of_a_switch_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    """All rows switch together, so the new prompts have as many."""
    message = refused(ShapeError, switches=[(6, torch.zeros(shape), "smooth")])
    assert "switch at frame 6" in message
    assert str(list(shape)) in message
    assert "[2, at most 4 tokens, 8]" in message


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_not(value: float) -> None:
    bad_prompts, bad_latents = prompts(), initial()
    bad_prompts[1, 2, 3] = bad_prompts[0, 0, 0] = value
    bad_latents[0, 1, 2, 3, 0] = value
    assert "prompts hold 2 NaN or infinite values of 48" in refused(NotFiniteError, prompts=bad_prompts)
    assert "initial latents hold 1 NaN" in refused(NotFiniteError, initial=bad_latents)
    message = refused(NotFiniteError, switches=[(6, bad_prompts, "smooth")])
    assert "switch at frame 6" in message
    assert "2 NaN" in message


def test_numbers_that_the_backbone_cannot_hold() -> None:
    """Finite where they come from, infinite in the backbone's data type."""
    vast = prompts(1).double().clamp(1) * 1e39
    latents = initial().double()
    latents[0, 1, 2, 3] = 1e39
    assert "initial latents hold 4 " in refused(NotFiniteError, initial=latents)
    assert "prompts hold 48" in refused(NotFiniteError, prompts=vast)
    assert "switch at frame 6" in refused(NotFiniteError, switches=[(6, vast, "smooth")])
    half = Backbone(model=scramble(CausalWan(CONFIG)).to(torch.float16))
    assert "prompts hold 48" in refused(NotFiniteError, backbone=half, prompts=vast / 1e33)


@pytest.mark.parametrize(
    "shape",
    [(3, 4, 4, 4), (1, 3, 4, 4, 4), (2, 3, 5, 4, 4), (2, 3, 4, 4, 6), (2, 4, 3, 4, 4), (2, 0, 4, 4, 4)],
    ids=str,
)
def test_initial_latents_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    """Among them channels before frames, and a number of frames that the chunk does not divide."""
    refused(ShapeError, initial=torch.zeros(shape))


def test_initial_latents_say_what_is_needed() -> None:
    assert "[2, frames, 4, 4, 4]" in refused(ShapeError, initial=torch.zeros(2, 3, 4, 4, 6))
    assert "frames = 4 is not a multiple of the chunk (3); use 3 or 6" in refused(ShapeError, initial=initial(4))
    assert "use 1 or 4" in refused(ShapeError, backbone=independent(), latent_frames=7, initial=initial(3))


@pytest.mark.parametrize("frames", [12, 15])
def test_initial_latents_that_leave_nothing_to_generate(frames: int) -> None:
    message = refused(ShapeError, initial=initial(frames))
    assert f"{frames} frames and the whole video 12" in message
    assert "raise latent_frames" in message


@pytest.mark.parametrize("size", [(5, 4), (4, 3), (0, 4), (-2, 4)], ids=str)
def test_latent_sizes_that_the_patch_does_not_divide(size: tuple[int, int]) -> None:
    assert f"latent size {size[0]} x {size[1]}" in refused(ShapeError, latent_size=size)


@pytest.mark.parametrize("size", [(), (4,), (4, 4, 4), (4.0, 4), ("4", "4"), 4, None], ids=str)
def test_latent_sizes_that_are_no_pair(size: Any) -> None:
    message = refused(ShapeError, latent_size=size)
    assert repr(size) in message
    assert "(height, width)" in message


@given(chunk=st.integers(1, 5), first=st.booleans(), frames=st.integers(-3, 40))
def test_numbers_of_frames(chunk: int, first: bool, frames: int) -> None:
    """What is not refused is served; what is refused comes with the nearest numbers that are not."""
    backbone = Backbone(model=MODEL, chunk=chunk, independent_first_frame=first)
    usable = [1 + n * chunk if first else (n + 1) * chunk for n in range(50)]
    if frames in usable:
        asked(backbone=backbone, latent_frames=frames)
        return
    below = [n for n in usable if n < frames]
    above = next(n for n in usable if n > frames)
    message = refused(ShapeError, backbone=backbone, latent_frames=frames)
    assert message.startswith(f"latent_frames = {frames} is not ")
    offered = [int(number) for number in message.rpartition("; use ")[2].split(" or ")]
    assert offered[-1] == above or (not below and above in offered)
    assert set(offered) <= set(usable)
    if below:
        assert offered == [below[-1], above]


@pytest.mark.parametrize("frames", [12.0, "12"], ids=repr)
def test_numbers_of_frames_that_are_not_whole(frames: Any) -> None:
    assert refused(ShapeError, latent_frames=frames) == f"latent_frames = {frames!r} is not a whole number"


def test_an_unknown_kind_of_switch() -> None:
    message = refused(SwitchError, switches=[(6, prompts(1), "fade")])
    assert "'fade'" in message
    assert all(kind in message for kind in ("smooth", "hardcut", "recall"))


@pytest.mark.parametrize("frame", [-1, 0, 12, 100])
def test_a_switch_outside_of_the_video(frame: int) -> None:
    message = refused(SwitchError, switches=[(frame, prompts(1), "smooth")])
    assert f"switch at frame {frame} is outside" in message
    assert "allowed: 1 to 11" in message


@pytest.mark.parametrize("frame", [10, 11])
def test_a_switch_after_the_last_chunk_has_begun(frame: int) -> None:
    message = refused(SwitchError, switches=[(frame, prompts(1), "smooth")])
    assert "starts at frame 12" in message
    assert "move it to 9 or earlier" in message
    assert lengths(switches=[(9, prompts(1), "smooth")]) == [3] * 4


def test_a_switch_in_a_video_of_one_chunk() -> None:
    """There is no earlier frame to move it to."""
    message = refused(SwitchError, latent_frames=3, switches=[(2, prompts(1), "smooth")])
    assert message.endswith("the video has 3; lengthen the video")


@pytest.mark.parametrize(("first", "second"), [(4, 5), (4, 6), (6, 6), (9, 3), (7, 5)])
def test_switches_that_share_a_chunk_or_are_out_of_order(first: int, second: int) -> None:
    message = refused(SwitchError, switches=[(first, prompts(1), "smooth"), (second, prompts(2), "smooth")])
    assert f"switch at frame {second}" in message
    assert "one switch a chunk, in order" in message


def test_switches_in_neighbouring_chunks() -> None:
    assert lengths(switches=[(6, prompts(1), "smooth"), (7, prompts(2), "hardcut")]) == [3] * 4


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_a_switch_of_the_wrong_length(length: int) -> None:
    switch = (6, prompts(1), "smooth", ["a", "b"], None)[:length]
    message = refused(SwitchError, switches=[switch])
    assert f"{length} parts" in message
    assert "(latent_frame, embeddings, kind)" in message


@pytest.mark.parametrize(
    ("texts", "given"), [(["a"], "1 of them"), ("ab", "one string"), (["a"] * 3, "3 of them"), ([], "0")]
)
def test_texts_that_are_not_one_a_row(texts: Any, given: str) -> None:
    """A string of two letters has two parts, and is refused all the same."""
    for changes in ({"texts": texts}, {"switches": [(6, prompts(1), "smooth", texts)]}):
        message = refused(ShapeError, **changes)
        assert "a list of 2" in message
        assert given in message


@pytest.mark.parametrize(
    ("strategy", "needed"),
    [
        (SlidingWindow(window=2), 3),
        (AttentionSink(window=5, sink=3), 6),
        (InfinityRope(window=3, sink=1), 4),
        (MemRoPE(window=7, sink=3), 8),
        (MemRoPE(window=6, sink=3, alpha_long=None), 7),
    ],
    ids=repr,
)
def test_a_window_without_room_for_sink_and_chunk(strategy: Strategy, needed: int) -> None:
    assert f"raise window to at least {needed}" in refused(KnobError, strategy=strategy)


def free_memory(patch: pytest.MonkeyPatch, size: int) -> None:
    patch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=size))


@pytest.mark.parametrize("strategy", [Full(), AttentionSink(), MemRoPE()], ids=repr)
@pytest.mark.parametrize("layout", ["chunk", "pass"])
def test_a_horizon_that_does_not_fit(strategy: Strategy, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused if and only if what the memory holds and the contexts laid out exceed what is free, to the byte."""
    frames = 300
    spec = MemorySpec(CONFIG.num_layers, DenseLayout(CONFIG.num_heads, CONFIG.head_dim), 4, 3, BATCH)
    capacity = strategy.open(spec).capacity
    context = frames - 3 if capacity is None else capacity
    layers = spec.layers if layout == "chunk" else 1
    laid_out = (context + 3) * 4 * BATCH * 2 * CONFIG.dim * 4 * layers
    needed = strategy.footprint(spec, frames) + laid_out

    free_memory(monkeypatch, needed)
    asked(strategy=strategy, latent_frames=frames, layout=layout)
    free_memory(monkeypatch, needed - 1)
    message = refused(HorizonTooLongError, strategy=strategy, latent_frames=frames, layout=layout)
    assert repr(strategy) in message
    assert "300 latent frames" in message
    assert ("choose a bounded strategy" in message) == (not strategy.bounded)
    with pytest.raises(MemoryError):
        asked(strategy=strategy, latent_frames=frames, layout=layout)


def test_a_day_of_a_bounded_memory_fits_where_full_attention_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory(monkeypatch, 10**8)
    assert next(asked(strategy=AttentionSink(), latent_frames=345_600)).latents.isfinite().all()
    refused(HorizonTooLongError, latent_frames=345_600)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.int64])
def test_a_data_type_that_no_memory_holds(dtype: torch.dtype) -> None:
    with pytest.raises(DtypeError) as caught:
        MemorySpec(1, DenseLayout(1, 2), 4, 3, dtype=dtype)
    assert f"{dtype}; allowed: float32, bfloat16, float16, float64" in str(caught.value)


class Misshapen:
    """Noise of its own shape, or none."""

    def __init__(self, first: tuple[int, ...] | None, later: tuple[int, ...] | None = None) -> None:
        self.first, self.later = first, later

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return torch.zeros(self.first or shape)

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return torch.zeros(self.later or shape)


@pytest.mark.parametrize(
    "shape", [(3, 3, 4, 4, 4), (2, 4, 4, 4, 4), (2, 3, 4, 4, 5), (1, 2, 3, 4, 4, 4), (16,)], ids=str
)
@pytest.mark.parametrize("late", [False, True])
def test_noise_of_the_wrong_shape(shape: tuple[int, ...], late: bool) -> None:
    """Known only when it is drawn, hence at the first chunk."""
    chunks = asked(noise=Misshapen(None, shape) if late else Misshapen(shape))
    with pytest.raises(ShapeError) as caught:
        next(chunks)
    assert f"the noise is {list(shape)}; a chunk here needs [2, 3, 4, 4, 4]" in str(caught.value)


def test_noise_that_is_the_same_for_all_rows() -> None:
    """May broadcast, as documented."""
    (both,) = (
        chunk.latents
        for chunk in asked(latent_frames=3, noise=Misshapen((1, 3, 4, 4, 4)), prompts=prompts(0, 1).expand(2, -1, -1))
    )
    assert torch.equal(both[0], both[1])


def test_paired_noise_for_another_batch() -> None:
    with pytest.raises(ShapeError, match="made for 1 rows, not 2"):
        next(asked(noise=PairedNoise([(0, "request")])))


def test_an_unknown_layout() -> None:
    assert "unknown layout 'passs'; allowed: chunk, pass" in refused(PresetError, layout="passs")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_whose_flow_is_no_latent(channels: int) -> None:
    """Image-to-video checkpoints take more channels than they give."""
    config = WanConfig(**vars(CONFIG) | {"out_dim": channels})
    assert f"4 channels into {channels}" in refused(ShapeError, backbone=scramble(CausalWan(config)))


def test_errors_are_what_python_callers_expect() -> None:
    """Each is a HorizonError, one line on the command line, and the built-in exception for what went wrong."""
    for changes, builtin in (
        ({"prompts": torch.zeros(3)}, ValueError),
        ({"latent_frames": 4}, ValueError),
        ({"switches": [(0, prompts(), "smooth")]}, ValueError),
        ({"strategy": SlidingWindow(window=1)}, ValueError),
    ):
        with pytest.raises(builtin) as caught:
            asked(**changes)
        assert isinstance(caught.value, HorizonError)
