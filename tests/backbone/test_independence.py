"""Backbones that share a model, and twins that strategies make of it, do not change one another."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.backbone import presets
from harness.backbone.kernels.attention import Attention, sdpa
from harness.backbone.presets import Backbone, scramble
from harness.backbone.wan import CausalWan
from harness.memory import Strategy
from harness.registry import strategy
from harness.rollout import rollout
from harness.verify.bench import CONFIG, LATENT_SIZE, Workbench


def halved(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Another attention than SDPA, and one that gives other numbers."""
    return sdpa(query, keys, values) / 2


@pytest.fixture
def choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "flash-attn" stand for `halved`."""

    def choose(name: str, *_: Any) -> tuple[Attention, str]:
        return (halved, "halved") if name == "flash-attn" else (sdpa, "sdpa")

    monkeypatch.setattr(presets, "choose", choose)


def model() -> CausalWan:
    return scramble(CausalWan(CONFIG)).requires_grad_(False)


def backbone(model: CausalWan, **options: Any) -> Backbone:
    return Backbone(model=model, latent_size=LATENT_SIZE, trained_frames=9, **options)


def video(backbone: Backbone, chosen: Strategy | None = None, chunks: int = 5, **options: Any) -> Tensor:
    drawn = rollout(
        backbone,
        chosen or strategy("sliding_window", window=6),
        prompts=Workbench.prompt(0),
        latent_frames=3 * chunks,
        latent_size=LATENT_SIZE,
        noise=Workbench.noise(0),
        **options,
    )
    return torch.cat([chunk.latents for chunk in drawn], 1)


def test_two_backbones_of_one_model_attend_in_their_own_ways(choice: None) -> None:
    own = model()
    alone = video(backbone(model())), video(backbone(model(), attention="flash-attn"))
    assert not torch.equal(*alone)
    plain, other = backbone(own), backbone(own, attention="flash-attn")
    assert plain.model is own
    assert (plain.attention_kernel, other.attention_kernel) == ("sdpa", "halved")
    for each, expected in ((plain, alone[0]), (other, alone[1]), (plain, alone[0])):
        assert torch.equal(video(each), expected)
    assert torch.equal(video(backbone(own)), alone[0])


def test_backbones_of_one_model_may_draw_in_turns(choice: None) -> None:
    """The attention of one does not change in the middle of a video because another one is made."""
    own = model()
    expected = video(backbone(own))
    drawn = []
    for chunk in rollout(
        backbone(own),
        strategy("sliding_window", window=6),
        prompts=Workbench.prompt(0),
        latent_frames=15,
        latent_size=LATENT_SIZE,
        noise=Workbench.noise(0),
    ):
        drawn.append(chunk.latents)
        video(backbone(own, attention="flash-attn"), chunks=1)
    assert torch.equal(torch.cat(drawn, 1), expected)


def test_a_backbone_of_another_attention_takes_no_weights_of_its_own(choice: None) -> None:
    own = model()
    other = backbone(own, attention="flash-attn")
    theirs = dict(other.model.named_parameters())
    assert all(theirs.pop(name) is weight for name, weight in own.named_parameters())
    assert not theirs
    again = backbone(own, attention="flash-attn")
    assert again.model is other.model, "what strategies keep for a model would be made again"
    assert replace(other, chunk=1).model is other.model
    with torch.no_grad():
        own.head.head.weight.mul_(2)
    assert torch.equal(video(other), video(backbone(own, attention="flash-attn")))


def test_a_model_and_its_twins_are_let_go(choice: None) -> None:
    own = model()
    other = backbone(own, attention="flash-attn")
    gone = weakref.ref(own), weakref.ref(other.model)
    del own, other
    gc.collect()
    assert [each() for each in gone] == [None, None]


ADAPTING = [
    lambda: strategy("videomla", parameters="random"),
    lambda: strategy("videomla", parameters="activation_svd", latent=8),
    lambda: strategy("echo_infinity", parameters="untrained"),
]


@pytest.mark.parametrize("make", ADAPTING, ids=["random", "activation_svd", "echo_infinity"])
@pytest.mark.parametrize("layout", ["chunk", "pass"])
def test_a_twin_and_its_original_do_not_change_each_other(
    make: Callable[[], Strategy], layout: str, choice: None
) -> None:
    chunks = 8
    own, adapting = model(), make()
    weights = {name: x.clone() for name, x in own.state_dict().items()}
    before = video(backbone(own), chunks=chunks)
    first = video(backbone(own), adapting, chunks, layout=layout)
    assert not torch.equal(first, before)
    assert torch.equal(video(backbone(own), chunks=chunks), before)
    # Another attention for the original leaves the twin alone, and the other way around.
    halves = backbone(own, attention="flash-attn")
    other = video(halves, chunks=chunks)
    assert torch.equal(video(backbone(own), adapting, chunks, layout=layout), first)
    twin = adapting.adapt(halves)
    assert twin.model.attends_by(halved)
    assert not torch.equal(video(halves, adapting, chunks, layout=layout), first)
    assert torch.equal(video(halves, chunks=chunks), other)
    assert torch.equal(video(backbone(own), chunks=chunks), before)
    # So do the twin's own parameters.
    theirs = {id(x) for x in own.parameters()}
    with torch.no_grad():
        for x in twin.model.parameters():
            if id(x) not in theirs:
                x.mul_(2)
    assert torch.equal(video(backbone(own), chunks=chunks), before)
    assert torch.equal(video(backbone(own), adapting, chunks, layout=layout), first)
    assert all(torch.equal(weights[name], x) for name, x in own.state_dict().items())


def test_a_hook_of_a_model_is_not_a_hook_of_its_twin() -> None:
    own, calls = model(), []
    twins = own.with_attention(halved), own.with_self_attention([block.self_attn for block in own.layers])
    for each in (own, *twins):
        each.layers[0].register_forward_hook(lambda *_, each=each: calls.append(each))
    for each in (own, *twins):
        calls.clear()
        video(backbone(each), chunks=1)
        assert set(calls) == {each}


def test_what_is_made_for_one_backbone_of_a_model_is_not_taken_for_another() -> None:
    """A calibration plays the videos of its own backbone, in whatever order backbones are adapted."""
    adapting = strategy("videomla", parameters="activation_svd")
    alone = adapting.adapt(backbone(model(), chunk=1)).model.state_dict()
    own = model()
    adapting.adapt(backbone(own))
    after = adapting.adapt(backbone(own, chunk=1)).model
    assert all(torch.equal(alone[name], x) for name, x in after.state_dict().items())
    assert adapting.adapt(backbone(own, chunk=1)).model is after
