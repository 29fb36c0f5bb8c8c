"""The memory of LongLive-RAG: what it keeps on the device, what it archives, and what it brings back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.memory import At, Context, Entries, MemorySpec, PromptSwitch, at_least_float32
from harness.memory.archive import Archive
from harness.memory.frames import FrameCache, OnSwitch
from harness.memory.packed import PackedEntries, Run

DESCRIPTORS = "descriptors"
"""How the names of descriptors in the archive end."""


class Retrieval(FrameCache):
    """A sink and recent frames, in slots of a larger window; what leaves them is archived.

    `chosen` are the frames that the next chunk retrieves, a list a row; `found` are their entries on the device, of all
    layers: [B, frames, layers, S, ...].

    Parameters
    ----------
    window: latent frames in all, retrieved ones and current chunk included. sink: latent frames that never leave.
    recent: the latest frames beside the chunk that it sees. memory: frames that are retrieved at most.
    exclude: frames, from where a plain window would end backwards, that are not retrieved yet.
    describe: descriptors [B, frames, size] of latents [B, frames, C, H, W].
    on_switch: as for `FrameCache`.
    """

    def __init__(
        self,
        spec: MemorySpec,
        *,
        window: int,
        sink: int,
        recent: int,
        memory: int,
        exclude: int,
        describe: Callable[[Tensor], Tensor],
        on_switch: OnSwitch,
    ) -> None:
        super().__init__(spec, window=window, sink=sink, positions="relative", on_switch=on_switch)
        self.memory, self.recent, self.describe = memory, recent, describe
        self.too_new = window + exclude
        self.archive = Archive(spec.device)
        self.descriptors: list[Tensor] = []
        self.chosen: list[list[int]] = []
        self.found: Entries | None = None
        self.replaying = False

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        context = super().recall(layer, query, at)
        if self.found is None or self.replaying:
            return context
        found = self.found.by_frame(lambda x: x[:, :, layer])
        return replace(context, slots=(found, *context.slots), positions=[0] * found.frames + list(context.positions))

    def place(self, ids: list[int], at: At) -> tuple[list[int], int]:
        assert self.capacity is not None
        if self.replaying:
            return super().place(ids, at)
        sink, start = min(self.sink, len(ids)), min(at.start, self.capacity)
        return [*range(sink), *range(start - len(ids) + sink, start)], start

    def trim(self, layer: int) -> None:
        kept = self.kept[layer]
        leaving = list(kept)[self.sink : max(self.sink, len(kept) - self.recent)]
        for frame, entries in zip(leaving, self.drop(layer, leaving), strict=True):
            # What leaves after a replay was archived before it.
            if not self.replaying:
                self.put_away(layer, frame, entries)

    def put_away(self, layer: int, frame: int, entries: Entries) -> None:
        """Copy a frame of one layer into the archive, where it lies with those of the other layers."""
        for part, x in enumerate(entries.stored):
            name = f"{frame}.{part}"
            if layer == 0:
                self.archive.room(name, (x.shape[0], self.spec.layers, *x.shape[2:]), x.dtype)
            for there, here in zip(self.archive.tensors[name], x.detach(), strict=True):
                there[layer].copy_(here[0], non_blocking=True)

    def see(self, latents: Tensor, at: At) -> None:
        found = self.describe(latents.detach())
        wide = at_least_float32(found.dtype)
        self.descriptors.append(self.archive.room(f"{at.start}.{DESCRIPTORS}", found.shape, wide).copy_(found))
        self.choose(at.start + at.frames)

    def choose(self, frames: int) -> None:
        """Retrieve for the chunk that begins after `frames`: the likest to the latest frame, a choice a row."""
        candidates, sink = frames - self.too_new, self.sink
        count = min(self.memory, candidates)
        if count <= 0:
            return
        known = torch.cat(self.descriptors, 1)
        known = known / (known.norm(dim=-1, keepdim=True) + 1e-8)
        likeness = (known[:, sink : sink + candidates] * known[:, -1:]).sum(-1)
        best = likeness.argsort(dim=-1, descending=True, stable=True)[:, :count]
        # Without contents nothing is likest.
        self.chosen = (torch.arange(count).expand(best.shape) if best.is_meta else best).add(sink).tolist()
        self.fetch()

    def fetch(self) -> None:
        """Bring the chosen frames to the device."""
        spec, parts = self.spec, []
        for part in range(len(spec.layout.shapes) * (1 if spec.packing is None else spec.packing.each)):
            there = self.archive.tensors[f"{self.chosen[0][0]}.{part}"]
            size = (spec.batch, len(self.chosen[0]), *there.shape[1:])
            found = torch.empty(size, dtype=there.dtype, device=spec.device)
            for row, frames in enumerate(self.chosen):
                for slot, frame in enumerate(frames):
                    found[row, slot].copy_(self.archive.tensors[f"{frame}.{part}"][row], non_blocking=True)
            parts.append(found)
        self.found = Entries(*parts) if spec.packing is None else PackedEntries(spec.packing, [Run(True, tuple(parts))])

    def forget(self, switch: PromptSwitch) -> None:
        self.replaying = True
        super().forget(switch)
        self.replaying = False

    def stored(self) -> Iterable[Tensor]:
        return [*super().stored(), *(self.found.stored if self.found else ())]

    def archived(self) -> Mapping[str, Tensor]:
        return self.archive.tensors

    def load_archive(self, archive: Mapping[str, Tensor]) -> None:
        self.archive.load(archive)
        self.descriptors = [x for name, x in self.archive.tensors.items() if name.endswith(DESCRIPTORS)]

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"chosen": self.chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.chosen = state["chosen"]
        if self.chosen:
            self.fetch()
