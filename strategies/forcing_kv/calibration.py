"""Head classes from rollouts, for `horizon calibrate forcing_kv`.

A head is static if the last four frames, the chunk's own among them, get 0.8 or more of the attention that it gives to
all frames but the first: the rule of the paper (arXiv:2605.09681), here over whole rollouts with full attention.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from harness.backbone.checkpoints import fingerprint
from harness.backbone.presets import Backbone
from harness.errors import PresetError
from harness.memory import At, Entries, Memory, MemorySpec, Strategy
from harness.memory.heads import attention_shares
from harness.memory.proxy import Watched, watched
from harness.rollout import rollout
from harness.rollout.noise import PairedNoise
from harness.training.rollout_clips import example_prompts, example_texts
from strategies.forcing_kv import classes
from strategies.full import Full

FIRST, RECENT = 1, 4
"""Latent frames that do not count, and that are recent."""
THRESHOLD = 0.8


@dataclass(frozen=True, kw_only=True)
class _FullWithQueries(Full):
    """Full attention whose memory is given the queries of commit passes."""

    reads_commit_query = True


class Profile(Watched):
    """Adds up the attention of each head to frames between, and to recent ones, in `sums` [2, layers, heads].

    Commit passes of the first half of the video do not count, since little is between there.
    """

    def __init__(self, inner: Memory, spec: MemorySpec, sums: Tensor) -> None:
        super().__init__(inner)
        self.spec, self.sums, self.least = spec, sums, max(FIRST + RECENT + 1, (spec.trained_frames or 0) // 2)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        kept = self.inner.held(layer)
        ids = [*kept, *range(at.start, at.start + at.frames)]
        if len(ids) >= self.least:
            assert query is not None
            whole = Entries.cat([*kept.values(), entries])
            parts = (FIRST, len(ids) - FIRST - RECENT, RECENT)
            shares = attention_shares(self.spec, whole, ids, query, parts, None)
            self.sums[:, layer] += shares[:, 1:].sum(0).to(self.sums)
        super().remember(layer, entries, query, at)


def shares(backbone: Backbone, *, rollouts: int, seed: int, report: Callable[[int], None]) -> Tensor:
    """Return the share of recent frames in the attention of each head, [layers, heads].

    Raises PresetError for a backbone that has no prompts of its own.
    """
    if not backbone.prompts or backbone.text is None:
        raise PresetError(f"{backbone.name} has no prompts of its own, so its heads cannot be calibrated by rollouts")
    spec = backbone.memory_spec()
    heads, _ = spec.layout.one_head()
    sums = torch.zeros(2, spec.layers, heads, dtype=torch.float64)
    one = int(backbone.independent_first_frame)
    frames = one + (backbone.trained_frames - one) // backbone.chunk * backbone.chunk
    backbone.prepare(example_texts(backbone, range(rollouts)))
    for number in range(rollouts):
        (text,) = example_texts(backbone, [number])
        *_, last = rollout(
            backbone,
            watched(_FullWithQueries(), lambda memory: Profile(memory, spec, sums)),
            prompts=example_prompts(backbone, [number]),
            latent_frames=frames,
            latent_size=backbone.latent_size,
            noise=PairedNoise([(seed + number, text)]),
        )
        last.state()
        report(number + 1)
    return sums[1] / sums.sum(0)


def calibrate(
    strategy: Strategy, backbone: Backbone, *, rollouts: int, seed: int, report: Callable[[int], None]
) -> tuple[str, str]:
    """Return the text of a file of head classes for a backbone, and how many heads are static."""
    recent = shares(backbone, rollouts=rollouts, seed=seed, report=report)
    static = [[head for head, share in enumerate(layer) if share >= THRESHOLD] for layer in recent.tolist()]
    about = f"{rollouts} rollouts with full attention, seed {seed}: static from a share of {THRESHOLD}"
    content = classes.content(static, recent.shape[1], backbone.name, fingerprint(backbone.model), about)
    content["shares"] = [[round(share, 4) for share in layer] for layer in recent.tolist()]
    found = f"{sum(map(len, static))} of {recent.numel()} heads are static"
    # A list of numbers in a line.
    lines = re.sub(r"\[[-\d.,\s]*\]", lambda found: " ".join(found[0].split()), json.dumps(content, indent=1))
    return lines + "\n", found


def knob() -> str:
    """Return the knob that takes the file."""
    return "classes"


def shipped(backbone: str) -> Path:
    """Return the place from which the package reads the file of a backbone."""
    return classes.SHIPPED / f"{backbone}.json"
