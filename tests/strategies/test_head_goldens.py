"""Dummy Forcing and Forcing-KV against the numbers that their authors' released code computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.backbone.rope import Rope, head_radians, rotate
from harness.memory import Entries, Memory
from harness.memory.heads import HeldByHeads
from harness.memory.proxy import watched
from harness.registry import strategy
from harness.rollout import Chunk, rollout
from strategies import dummy_forcing
from strategies.forcing_kv.classes import content
from strategies.forcing_kv.memory import ByKind
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
    *_, last = found = list(chunks)
    last.state()
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
    assert opened[0].rows(0, 36) is None
    # Half of nine heads.
    assert opened[0].classes == [golden["head_classes"].tolist()]


FORCING_KV = {
    "forcingkv_default": {},
    "forcingkv_ar2_s3_ls2_lt3_ld2": {},
    "forcingkv_lt2_static_only": {"dynamic_context": 0},
    "forcingkv_switch_window": {"on_switch": "recache"},
    "forcingkv_switch_full_noglobalsink": {"on_switch": "recache_all", "replayed": "all"},
    "forcingkv_switch_window_noglobalsink": {"on_switch": "recache_all"},
}


def forcing_kv_knobs(case: str, folder: Path) -> dict[str, Any]:
    asked, classes = goldens.banks_case(case), goldens.load(case, goldens.HEADS)["head_classes"].tolist()
    static = [[head for head, found in enumerate(layer) if found == 0] for layer in classes]
    file = folder / "classes.json"
    file.write_text(json.dumps(content(static, 3, "custom", "", "by hand")), encoding="utf-8")
    names = {"start": "A", "sink": "G", "static_context": "Ls", "temporal_context": "Lt", "dynamic_context": "Ld"}
    names |= {"patches": "P", "keep": "retention"}
    knobs = {knob: asked[name] for knob, name in names.items() if name in asked}
    return {"classes": str(file), **knobs, **FORCING_KV[case]}


@pytest.mark.parametrize("case", FORCING_KV)
def test_forcing_kv_is_what_the_released_code_computes(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latents, similarities, chosen patches and, where they are stored, entries by head."""
    golden, opened = goldens.load(case, goldens.HEADS), list[Any]()
    chosen, likeness, choose = list[tuple[int, list[int]]](), list[Tensor](), ByKind.choose
    cosine = torch.cosine_similarity

    def noted(memory: ByKind, entries: Entries, ids: list[int]) -> Tensor:
        found = choose(memory, entries, ids)
        # The last frame of `ids` is the chunk's, behind as many of it as the tail lacks of a chunk.
        chosen.append((ids[-1] - ids[-1] % 3, found[0].tolist()))
        return found

    def alike(*told: Any) -> Tensor:
        found = cosine(*told)
        likeness.append(found[0].unflatten(1, (6, -1)).mean(-1))
        return found

    monkeypatch.setattr(ByKind, "choose", noted)
    monkeypatch.setattr(torch, "cosine_similarity", alike)
    check_latents(run("forcing_kv", forcing_kv_knobs(case, tmp_path), case, opened), golden["latents"])
    starts = golden["patch_chunk_start"].tolist() if "patch_chunk_start" in golden else []
    assert [start for start, _ in chosen] == starts
    if starts:
        assert [kept for _, kept in chosen] == golden["patch_kept"].tolist()
        close(torch.stack(likeness), golden["patch_scores"])
    (memory,) = opened
    stored = {name: x for name, x in golden.items() if name.startswith("layer")}
    for name, x in stored.items():
        layer, number = int(name[5]), "kv".index(name.split("_final")[0][-1])
        close(kept(memory, layer, number, name), x)


def kept(memory: ByKind, layer: int, number: int, name: str) -> Tensor:
    """Return what the released code keeps under a name, [tokens, heads, channels]."""
    rope = Rope(head_radians(20), (3, 4))

    def placed(frames: dict[int, Entries]) -> Tensor:
        found = torch.cat([x.tensors[number] for x in frames.values()], 1).flatten(1, 2)
        return rotate(found, rope.frames(list(frames))) if number == 0 else found

    if "group" not in name:
        return placed(memory.sink[layer] if "sink" in name else memory.latest[layer])[0]
    dynamic = "temporal" in name
    (kind,) = [kind for kind in memory.kinds[layer] if kind.dynamic == dynamic]
    if "dynamic" in name:
        assert kind.patches is not None
        assert memory.places is not None
        patches = kind.patches.tensors[number].flatten(1, 2)
        return (rotate(patches, rope.tokens(memory.places)) if number == 0 else patches)[:, :, 0].transpose(0, 1)
    return placed(kind.sink.kept if "sink" in name else kind.latest.kept)[:, :, 0].transpose(0, 1)
