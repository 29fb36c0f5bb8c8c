"""Echo-Forcing against the numbers that its authors' released code computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import strategies.echo_forcing.memory
from harness.memory import At, Context, Entries, Memory
from harness.memory.proxy import Watched, watched
from harness.memory.scored import choose
from harness.rollout import Chunk, rollout
from strategies.echo_forcing import EchoForcing
from strategies.echo_forcing.memory import SceneMemory
from strategies.echo_forcing.scenes import features
from tests import goldens

TOLERANCE = 2e-5
TEXTS = ["the first scene", "the second scene", "the third scene", "the fourth scene"]


def run(scenes: int, knobs: dict[str, Any], watch: Any = None, **options: Any) -> Iterator[Chunk]:
    """Scenes of 9 chunks, entered smoothly, by a hard cut and by a recall; 15 chunks of the first alone."""
    inputs = goldens.load("ef_inputs", goldens.SCENES)
    prompts, filtered = inputs["prompt_embeds"], inputs["recall_filtered_embeds"]
    kinds = ["smooth", "hardcut", "recall"][: scenes - 1]

    def encode(texts: Sequence[str]) -> Tensor:
        """What the released code's encoder was given by its own word lists."""
        return torch.stack([filtered[next(i for i, whole in enumerate(TEXTS) if text in whole)] for text in texts])

    strategy = EchoForcing(**knobs)
    return rollout(
        goldens.scenes_model(),
        watched(strategy, watch) if watch else strategy,
        prompts=prompts[:1],
        latent_frames=45 if scenes == 1 else 27 * scenes,
        latent_size=(8, 8),
        noise=goldens.scenes_noise(),
        switches=[(27 * i, prompts[i : i + 1], kind, [TEXTS[i]]) for i, kind in enumerate(kinds, 1)],
        texts=[TEXTS[0]],
        encode=encode,
        **options,
    )


class Caught(Watched):
    """Notes what compression scores and chooses (absolute frame * tokens + place), and how fast entries fade."""

    def __init__(self, inner: Memory) -> None:
        super().__init__(inner)
        self.chosen: dict[int, list[Tensor]] = {}
        self.scores: dict[int, list[Tensor]] = {}
        self.rates: dict[tuple[int, int], Tensor] = {}

    @property
    def memory(self) -> SceneMemory:
        assert isinstance(self.inner, SceneMemory)
        return self.inner

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        with pytest.MonkeyPatch.context() as patch:

            def caught(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
                places, there = choose(scores, count)
                first = self.memory.slots.history[0]
                self.scores.setdefault(layer, []).append(scores[0])
                self.chosen.setdefault(layer, []).append(places[0] + first * 16)
                assert there.all()
                return places, there

            patch.setattr(strategies.echo_forcing.memory, "choose", caught)
            return super().recall(layer, query, at)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        super().remember(layer, entries, query, at)
        rates = self.memory.layers[layer].rates
        if rates is not None:
            self.rates.setdefault((at.start // 3, layer), rates[0])


def caught_run(scenes: int, knobs: dict[str, Any]) -> tuple[Tensor, Caught]:
    made: list[Caught] = []

    def watch(memory: Memory) -> Memory:
        made.append(Caught(memory))
        return made[0]

    return torch.cat([chunk.latents for chunk in run(scenes, knobs, watch)], 1)[0], made[0]


def test_one_prompt() -> None:
    stored = goldens.load("ef_single", goldens.SCENES)
    latents, caught = caught_run(1, {})
    torch.testing.assert_close(latents, stored["latents"], rtol=0, atol=TOLERANCE)
    for layer in range(3):
        assert torch.equal(torch.stack(caught.chosen[layer]), stored[f"middle_idx.{layer}"].long())
    for roll, name in ((0, "first"), (-1, "last")):
        scores, ours = stored[f"scores.layer1.{name}_roll"], caught.scores[1][roll]
        assert scores[len(ours) :].eq(-torch.inf).all()
        assert len(ours) == 18 * 16
        torch.testing.assert_close(ours, scores[: len(ours)], rtol=1e-5, atol=1e-4 * float(ours.std()))


def test_four_scenes() -> None:
    stored = goldens.load("ef_interactive", goldens.SCENES)
    latents, caught = caught_run(4, {})
    torch.testing.assert_close(latents, stored["latents"], rtol=0, atol=TOLERANCE)
    pool = caught.memory.pool.scenes
    assert len(pool) == 3
    for layer in range(3):
        assert torch.equal(torch.cat(caught.chosen[layer]), stored[f"middle_idx.{layer}"].long())
        keys, values = pool[0].frames["compress"][layer].tensors
        torch.testing.assert_close(keys[0, 0], stored[f"pool.0.k.{layer}"], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(values[0, 0], stored[f"pool.0.v.{layer}"], rtol=0, atol=TOLERANCE)
        for block in (9, 27):
            rates = stored[f"decay_rates.block{block}.layer{layer}"]
            ours = caught.rates[block, layer].repeat(len(rates) // 16)
            torch.testing.assert_close(ours, rates, rtol=0, atol=TOLERANCE)
    filtered = goldens.load("ef_inputs", goldens.SCENES)["recall_filtered_embeds"]
    for number, feature in enumerate(features(filtered.float())):
        torch.testing.assert_close(feature, stored[f"pool.{number}.feat"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("gate_off", {"gate": "off"}),
        ("amp_off", {"amplitude": "off"}),
        ("reuse2", {"max_reuse": 2}),
        ("fusion_max", {"fusion": "max"}),
        ("pc_off", {"hierarchy": False}),
        ("s6c6r6", {"anchors": 6, "compressed": 6, "recent": 6}),
    ],
)
def test_knobs_within_a_scene(name: str, knobs: dict[str, Any]) -> None:
    stored = goldens.load("ef_variants", goldens.SCENES)[f"single.{name}"]
    *_, last = run(1, knobs)
    torch.testing.assert_close(last.latents[0], stored, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "scene", "knobs"),
    [
        ("smooth_fixed09", 1, {"smooth_decay": (0.9, 0.9)}),
        ("stitch", 2, {"recall_frame": "token_select"}),
        ("src_select", 2, {"smooth_source": "select", "hardcut_source": "select", "recall_source": "select"}),
        ("hardcut_jump0", 2, {"hardcut_jump": 0}),
        ("recall_manual2", 3, {"recalls": (2,)}),
    ],
)
def test_knobs_between_scenes(name: str, scene: int, knobs: dict[str, Any]) -> None:
    stored = goldens.load("ef_variants", goldens.SCENES)[f"interactive.{name}"]
    chunks = [chunk.latents[0] for chunk in run(scene + 1, knobs)]
    ours = torch.cat((chunks[9 * scene], chunks[9 * scene + 2]))
    torch.testing.assert_close(ours, stored, rtol=0, atol=TOLERANCE)
