"""Deep Forcing against the numbers that its authors' released code computes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.memory import At, Context, Memory
from harness.memory.proxy import Watched, watched
from harness.memory.scored import Tokens
from harness.registry import strategy
from harness.rollout import Chunk, rollout
from tests import goldens

TOLERANCE = 2e-5
FRAMES, LAYERS, TOKENS = 75, 3, 12
COMPRESSED: dict[str, dict[str, Any]] = {
    "deepforcing_default": {},
    "deepforcing_max": {"fusion": "max"},
    "deepforcing_reuse2": {"max_reuse": 2},
    "deepforcing_n18": {"budget": 18},
    "deepforcing_n15_s9": {"budget": 15, "sink": 9},
}
SINK_ONLY: dict[str, dict[str, Any]] = {
    "deepsink_s14": {"compression": False, "sink": 14},
    "deepsink_s10": {"compression": False},
}
KNOBS = COMPRESSED | SINK_ONLY


class Seen(Watched):
    """Notes what each layer sees of each chunk: chosen tokens, whole frames, temporal ids and scores."""

    def __init__(self, inner: Memory) -> None:
        super().__init__(inner)
        self.compressing: list[int] = []
        self.chosen: dict[int, list[list[int]]] = {layer: [] for layer in range(LAYERS)}
        self.scores: dict[int, list[Tensor]] = {layer: [] for layer in range(LAYERS)}
        self.sink_first: list[int] = []

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        inner: Any = self.inner
        before = set(inner.held(layer))
        if hasattr(inner, "layers"):
            score = type(inner)._matches.__get__(inner)

            def noted(tokens: Tokens) -> Tensor:
                self.scores[layer].append(score(tokens))
                return self.scores[layer][-1]

            inner.scores = noted
        context = super().recall(layer, query, at)
        if set(inner.held(layer)) != before:
            self.chosen[layer].append(inner.layers[layer].ids[0].tolist())
            if layer == 0:
                self.compressing.append(at.start)
        if layer == 0 and at.start:
            positions = context.positions
            first = positions[0, 0, 0] if isinstance(positions, Tensor) else positions[0]
            self.sink_first.append(int(first) - int(context.start) + at.start)
        return context


def run(name: str, **changes: Any) -> tuple[Iterator[Chunk], list[Seen]]:
    seen: list[Seen] = []

    def watch(memory: Memory) -> Memory:
        seen.append(Seen(memory))
        return seen[0]

    chunks = rollout(
        goldens.model(),
        watched(strategy("deep_forcing", **KNOBS[name] | changes), watch),
        prompts=goldens.prompts()[0],
        latent_frames=FRAMES,
        latent_size=(6, 8),
        noise=goldens.sinks_noise(),
    )
    return chunks, seen


@pytest.mark.parametrize("name", KNOBS)
def test_deep_forcing_is_what_the_released_code_computes(name: str) -> None:
    golden = goldens.load(name, goldens.SINKS)
    (stored,) = (each for each in golden if each.startswith("latents"))
    first = int(stored.split("_")[1]) if "_" in stored else 0
    chunks, (*_, seen) = run(name)
    found = torch.cat([chunk.latents for chunk in islice(chunks, first // 3, None)], 1)
    torch.testing.assert_close(found, golden[stored], rtol=0, atol=TOLERANCE)
    assert [0, *seen.sink_first] == golden["sink_first_id"].tolist()
    if name in SINK_ONLY:
        return
    assert seen.compressing == golden["compress_start"].tolist()
    for layer in range(LAYERS):
        assert seen.chosen[layer] == golden[f"chosen.layer{layer}"].tolist()
        if f"scores.layer{layer}.first" in golden:
            for mine, which in ((seen.scores[layer][0], "first"), (seen.scores[layer][-1], "last")):
                torch.testing.assert_close(mine[0], golden[f"scores.layer{layer}.{which}"], rtol=0, atol=1e-4)
