"""Dummy Forcing and Forcing-KV against the numbers that their authors' released code computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.backbone.rope import Rope, head_radians, rotate
from harness.memory import Memory
from harness.memory.heads import HeldByHeads
from harness.memory.proxy import watched
from harness.registry import strategy
from harness.rollout import Chunk, rollout
from strategies import dummy_forcing
from tests import goldens

TOLERANCE = 5e-6


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


def run(name: str, knobs: dict[str, Any], case: str, opened: list[Any] | None = None) -> list[Chunk]:
    """Return the chunks of a case, all of them committed; the memory is put into `opened`."""
    asked, prompts = goldens.banks_case(case), goldens.banks_prompts()
    said = asked.get("prompts", "a").split(",")
    switches = zip(asked.get("switch_indices", ()), said[1:], strict=True)

    def seen(memory: Memory) -> Memory:
        if opened is not None:
            opened.append(memory)
        return memory

    chunks = rollout(
        goldens.model(),
        watched(strategy(name, **knobs), seen),
        prompts=prompts[said[0]],
        latent_frames=asked["frames"],
        latent_size=(6, 8),
        noise=goldens.banks_noise(),
        switches=[(start, prompts[prompt], "smooth") for start, prompt in switches],
    )
    found = []
    for chunk in chunks:
        found.append(chunk)
    found[-1].state()
    return found


def check_latents(chunks: list[Chunk], stored: Tensor) -> None:
    """Raise AssertionError where the last latents differ from the stored ones."""
    close(torch.cat([chunk.latents for chunk in chunks], 1)[:, -stored.shape[1] :], stored)


def turned(held: list[HeldByHeads], part: int) -> dict[int, dict[int, Tensor]]:
    """Return keys, rotated to where they stand, or values, [S, channels], by head and frame."""
    rope, found = Rope(head_radians(20), (3, 4)), dict[int, dict[int, Tensor]]()
    for heads, frames in held:
        for frame, entries in frames.items():
            x = entries.tensors[part][:, 0]
            x = rotate(x, rope.frames([frame])) if part == 0 else x
            for number, each in zip(heads.numbers, x[:, :, 0], strict=True):
                found.setdefault(number, {})[frame] = each
    return found


DUMMY = [
    "dummy_default", "dummy_default_allrows", "dummy_ar2", "dummy_ar2_ctx2_nd3", "dummy_ar1_ctx3_nd0",
    "dummy_switch_ar2_ctx2", "dummy_switch_ctx1_early",
]  # fmt: skip


@pytest.mark.parametrize("case", DUMMY)
def test_dummy_forcing_is_what_the_released_code_computes(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latents, attention, classes and, where they are stored, entries by head."""
    golden, asked, opened = goldens.load(case, goldens.HEADS), goldens.banks_case(case), list[Any]()
    knobs = {"start": asked["A"], "context": asked["C"], "dummies": asked["D"]}
    if asked["rows"] != "all":
        # The released draw is not reproducible; the file has the rows.
        stored: Callable[..., Tensor] = lambda memory, layer, tokens: golden["sampled_rows"][layer].long()  # noqa: E731
        monkeypatch.setattr(dummy_forcing._ByClass, "rows", stored)
    shares, decided = [], dummy_forcing.decided
    monkeypatch.setattr(dummy_forcing, "decided", lambda *told: shares.append(told[0]) or decided(*told))
    check_latents(run("dummy_forcing", knobs, case, opened), golden["latents"])
    (memory,) = opened
    assert memory.classes == [golden["head_classes"].tolist()]
    close(shares[0][0], golden["head_shares"])
    for layer, classes in enumerate(golden["head_classes"].tolist()):
        for number, name in enumerate("kv"):
            held = turned(memory.held_by_heads(layer), number)
            packed = [head for kind in (0, 2) for head, found in enumerate(classes) if found == kind]
            sink = golden.get(f"layer{layer}_sink_{name}_final")
            if sink is not None:
                close(torch.stack([torch.cat(list(held[head].values())) for head in packed], 1), sink)
            local = golden.get(f"layer{layer}_local_{name}_final")
            if local is not None:
                mid = [torch.cat(list(held[head].values())) for head, kind in enumerate(classes) if kind == 1]
                close(torch.stack(mid, 1), local)


def test_all_rows_are_counted_by_default() -> None:
    golden = goldens.load("dummy_default_allrows", goldens.HEADS)
    assert golden["sampled_rows"].tolist() == [list(range(36))] * 3
    opened: list[Any] = []
    run("dummy_forcing", {}, "dummy_default_allrows", opened)
    assert opened[0].rows(0, 36).tolist() == list(range(36))
    # Half of nine heads.
    assert opened[0].classes == [golden["head_classes"].tolist()]
