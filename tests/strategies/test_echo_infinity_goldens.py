"""Echo-Infinity against the numbers that its authors' released code computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.memory import Memory
from harness.memory.proxy import watched
from harness.rollout import rollout
from strategies.echo_infinity import EchoInfinity
from strategies.echo_infinity.memory import QueryMemory
from tests import goldens

TOLERANCE = 2e-5


def encoder_weights() -> dict[str, Tensor]:
    """The encoder of the goldens, which is made of parts of the model."""
    dit = {name: x.float() for name, x in goldens.load("ef_weights", goldens.SCENES).items()}
    golden = goldens.load("echo_infinity_code", goldens.SCENES)
    found = {"query_init": golden["query_init"].float()}

    def linear(ours: str, theirs: str) -> None:
        for part in ("weight", "bias"):
            found[f"{ours}.{part}"] = dit[f"{theirs}.{part}"]

    for i in range(2):
        linear(f"layers.{i}.q", f"blocks.{i}.cross_attn.q")
        linear(f"layers.{i}.o", f"blocks.{i}.cross_attn.o")
        found[f"layers.{i}.norm_q.weight"] = dit[f"blocks.{i}.cross_attn.norm_q.weight"]
        found[f"layers.{i}.norm1.weight"] = dit[f"blocks.{i}.self_attn.norm_k.weight"]
        found[f"layers.{i}.norm2.weight"] = dit[f"blocks.{i}.self_attn.norm_q.weight"]
        first, second = (f"blocks.{j}.ffn" for j in (i, i + 1))
        for part in ("weight", "bias"):
            found[f"layers.{i}.ffn.0.{part}"] = torch.cat((dit[f"{first}.0.{part}"], dit[f"{second}.0.{part}"]))
        found[f"layers.{i}.ffn.2.weight"] = torch.cat((dit[f"{first}.2.weight"], dit[f"{second}.2.weight"]), 1)
        found[f"layers.{i}.ffn.2.bias"] = dit[f"{first}.2.bias"]
    linear("connector_proj.0", "blocks.0.cross_attn.k")
    linear("connector_proj.2", "blocks.1.cross_attn.k")
    found["connector_proj.3.weight"] = dit["blocks.1.cross_attn.norm_k.weight"]
    both = torch.cat((dit["blocks.0.cross_attn.q.weight"], dit["blocks.1.cross_attn.q.weight"]), 1)
    found["gate_linear.weight"], found["gate_linear.bias"] = 0.5 * both, torch.full((96,), 2.0)
    linear("to_k", "blocks.2.cross_attn.k")
    linear("to_v", "blocks.2.cross_attn.v")
    found["norm_k_out.weight"] = dit["blocks.2.cross_attn.norm_k.weight"]
    return found


def run(knobs: dict[str, Any], watch: Any = None) -> list[Tensor]:
    """36 latent frames, a tensor a chunk."""
    strategy = EchoInfinity(**knobs)
    backbone = Backbone(model=goldens.scenes_model(), latent_size=(8, 8))
    if strategy.memory:
        strategy.adapt(backbone).model.get_submodule("query_memory_encoder").load_state_dict(encoder_weights())
    return [
        chunk.latents
        for chunk in rollout(
            backbone,
            watched(strategy, watch) if watch else strategy,
            prompts=goldens.load("ef_inputs", goldens.SCENES)["prompt_embeds"][:1],
            latent_frames=36,
            latent_size=(8, 8),
            noise=goldens.scenes_noise(),
        )
    ]


def test_the_released_code() -> None:
    golden = goldens.load("echo_infinity_code", goldens.SCENES)
    states: list[Tensor] = []
    left: list[Tensor] = []

    def watch(memory: Memory) -> Memory:
        assert isinstance(memory, QueryMemory)
        update = memory.update

        def seen() -> None:
            left.append(memory.evicted(2)[0])
            update()
            states.append(memory.queries[0])

        memory.update = seen  # type: ignore[method-assign]
        return memory

    chunks = run({}, watch)
    assert len(states) == 8
    assert (left[0][0] - golden["evicted_k.first"]).abs().max() < TOLERANCE
    assert (states[0][0] - golden["Q.after1"]).abs().max() < TOLERANCE
    assert (states[7][0] - golden["Q.after8"]).abs().max() < TOLERANCE
    assert (torch.cat(chunks, 1)[0, 18:] - golden["latents_18_36"]).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("variant", "knobs"),
    [
        ("no_memory", {"memory": 0}),
        ("no_update", {"update": "never"}),
        ("absolute_rope", {"positions": "absolute"}),
        ("no_normk", {"normed_keys": False}),
    ],
)
def test_its_variants(variant: str, knobs: dict[str, Any]) -> None:
    golden = goldens.load("echo_infinity_code", goldens.SCENES)
    chunks = run(knobs)
    assert (chunks[-1][0] - golden[f"var.{variant}"]).abs().max() < TOLERANCE
    assert (chunks[-1][0] - golden["latents_18_36"][-3:]).abs().max() > 1e-3
