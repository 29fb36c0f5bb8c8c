"""Echo-Forcing against the numbers that its authors' released code computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.memory import At, Context, Memory
from harness.rollout import Chunk, rollout
from harness.workbench import Watched, watched
from strategies.echo_forcing import EchoForcing
from tests import goldens

TOLERANCE = 2e-5
pytestmark = goldens.needs_scenes
TEXTS = ["the first scene", "the second scene", "the third scene", "the fourth scene"]


def run(
    scenes: int, knobs: dict[str, Any], watch: Any = None, recall: str = "recall", **options: Any
) -> Iterator[Chunk]:
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


class Chosen(Watched):
    """Notes the tokens that compression chooses, as absolute frame * tokens + place, and the scores."""

    rolls: dict[int, list[Tensor]]

    def __init__(self, inner: Memory) -> None:
        super().__init__(inner)
        self.rolls = {}

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        before = {frame: x.clone() for frame, x in self.inner.layers[layer].uses.items()}  # type: ignore[attr-defined]
        context = super().recall(layer, query, at)
        own = self.inner.layers[layer]  # type: ignore[attr-defined]
        if own.compressed is not None:
            picked = [
                frame * 16 + place
                for frame, uses in sorted(own.uses.items())
                for place in (uses[0] > before[frame][0]).nonzero().flatten().tolist()
            ]
            self.rolls.setdefault(layer, []).append(torch.tensor(picked))
        return context


def test_one_prompt() -> None:
    stored = goldens.load("ef_single", goldens.SCENES)
    made: list[Chosen] = []

    def watch(memory: Memory) -> Memory:
        made.append(Chosen(memory))
        return made[0]

    latents = torch.cat([chunk.latents for chunk in run(1, {}, watch)], 1)[0]
    torch.testing.assert_close(latents, stored["latents"], rtol=0, atol=TOLERANCE)
    for layer, rolls in made[0].rolls.items():
        assert torch.equal(torch.stack(rolls), stored[f"middle_idx.{layer}"].long())


def test_four_scenes() -> None:
    stored = goldens.load("ef_interactive", goldens.SCENES)
    made: list[Chosen] = []

    def watch(memory: Memory) -> Memory:
        made.append(Chosen(memory))
        return made[0]

    latents = torch.cat([chunk.latents for chunk in run(4, {}, watch)], 1)[0]
    torch.testing.assert_close(latents, stored["latents"], rtol=0, atol=TOLERANCE)
