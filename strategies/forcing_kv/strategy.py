"""The knobs of Forcing-KV, and what it takes on paper."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le

from harness.backbone.checkpoints import fingerprint
from harness.backbone.kept import Kept
from harness.backbone.presets import Backbone
from harness.errors import KnobError
from harness.files import digest
from harness.memory import Memory, MemorySpec, Strategy, Weights
from harness.memory.budget import Part, apportion
from strategies.forcing_kv import classes as files
from strategies.forcing_kv.memory import ByKind, OnSwitch, Sizes

RELEASED_PATCHES = 6
_fingerprints: Kept[str] = Kept()


@dataclass(frozen=True, kw_only=True)
class ForcingKV(Strategy):
    """A sink for all heads, the latest frames for static ones, and patches that changed for dynamic ones.

    classes: a JSON file of head classes; none: the one that ships for the backbone. start: number of the chunk, from 0,
    after which heads differ. sink: first latent frames, which all heads see.
    static_context, temporal_context: last frames that static and dynamic heads see; the latter at most a chunk.
    dynamic_context: frames of patches that dynamic heads see; 0 for none. patches: of a frame, each of consecutive
    tokens; none: 6, or the next smaller number that divides the tokens. keep: share of the patches of a chunk's frames
    that is kept, which must be dynamic_context; none: whatever that is, the released 0.33 of three frames.
    on_switch: at a prompt switch "recache" (the sink stays), "recache_all" (it becomes the first replayed frames) or
    "keep" everything. replayed: then the last frames of the longest "context", or "all" frames of the video.
    """

    paper = "https://arxiv.org/abs/2605.09681"
    by_heads = True

    classes: str | None = None
    start: Annotated[int, Ge(0)] = 1
    sink: Annotated[int, Ge(0)] = 1
    static_context: Annotated[int, Ge(1)] = 1
    temporal_context: Annotated[int, Ge(1)] = 1
    dynamic_context: Annotated[int, Ge(0)] = 1
    patches: Annotated[int, Ge(1)] | None = None
    keep: Annotated[float, Gt(0), Le(1)] | None = None
    on_switch: OnSwitch = "recache"
    replayed: Literal["context", "all"] = "context"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes is not None and not self.classes.endswith(".json"):
            raise KnobError(
                f"ForcingKV: knob classes = {self.classes!r} is not allowed; allowed: a .json file, which "
                f"{files.command(None)} makes | none"
            )

    def open(self, spec: MemorySpec) -> Memory:
        static = files.static_heads(self.classes, spec)
        if spec.grid is None:
            raise KnobError("forcing_kv places single tokens, for which it needs the grid of a frame's tokens")
        for knob in ("temporal_context", "dynamic_context"):
            if getattr(self, knob) > spec.chunk:
                raise KnobError(
                    f"forcing_kv: {knob} = {getattr(self, knob)} is more than a chunk ({spec.chunk} latent frames)"
                )
        patches = self.patches_of(spec)
        if spec.frame_tokens % patches:
            raise KnobError(f"forcing_kv: {patches} patches do not divide the {spec.frame_tokens} tokens of a frame")
        kept = None if self.keep is None else round(spec.chunk * patches * self.keep)
        if self.dynamic_context and kept not in (None, self.dynamic_context * patches):
            raise KnobError(
                f"forcing_kv: keep = {self.keep} is {kept} of {spec.chunk * patches} patches, and dynamic_context = "
                f"{self.dynamic_context} is {self.dynamic_context * patches} of them; give one of the two"
            )
        sizes = Sizes(
            start=self.start,
            sink=self.sink,
            static=self.static_context,
            temporal=self.temporal_context,
            dynamic=self.dynamic_context,
            patches=patches,
        )
        return ByKind(spec, static, sizes, self.on_switch, self.replays)

    def patches_of(self, spec: MemorySpec) -> int:
        """Return the patches of a frame."""
        if self.patches is not None:
            return self.patches
        return max(n for n in range(1, RELEASED_PATCHES + 1) if spec.frame_tokens % n == 0)

    def weights(self, backbone: Backbone) -> Weights | None:
        path = files.file_of(self.classes, backbone.name)
        if path is None:
            about = "every second head static, since its weights are random" * (backbone.name in files.RANDOM)
            return Weights(False, about or f"no head classes; {files.command(backbone.name)} makes them", "none")
        # A campaign asks for this before its first cell, so that a wrong file stops it at once.
        files.static_heads(self.classes, backbone.memory_spec())
        content, model = files.read(path), backbone.model
        here = content.get("weights")
        if here is not None and model.device.type != "meta":
            known = _fingerprints.get(model, "", lambda: fingerprint(model))
            if here != known:
                about = f"head classes of other weights, {path.name}; {files.command(backbone.name)} makes new ones"
                return Weights(False, about, digest(path))
        return Weights(True, f"head classes {path.name}", digest(path))

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        heads, _ = spec.layout.one_head()
        static = sum(map(len, files.static_heads(self.classes, spec)[1:]))
        dynamic = heads * (spec.layers - 1) - static
        late = max(0, -(-frames // spec.chunk) - 1 - self.start)  # chunks since heads differ
        # The sink grows up to the chunk `start` only.
        sink = min(self.sink, frames - late * spec.chunk)
        behind = frames - sink
        latest = min(behind, max(self.static_context, self.temporal_context))
        if -(-frames // spec.chunk) <= self.start:
            return spec.bytes((sink + latest) * spec.frame_tokens)
        patched = self.dynamic_context * (late > 0 and behind > spec.chunk and dynamic > 0)
        each = sink + min(behind, self.static_context), sink + min(behind, self.temporal_context) + patched
        kept = heads * (sink + latest) + static * each[0] + dynamic * each[1]
        places = spec.batch * patched * spec.frame_tokens * 3 * torch.int64.itemsize
        return spec.bytes(kept * spec.frame_tokens) // (heads * spec.layers) + places

    def resized(self, spec: MemorySpec, frames: int) -> ForcingKV:
        chunk, longest = spec.chunk, max(self.static_context, self.temporal_context + self.dynamic_context)
        parts = {"sink": Part(self.sink, self.sink, most=self.sink), "latest": Part(longest, least=1)}
        latest = apportion(frames, parts)["latest"]
        # Static and dynamic heads keep their proportion, and so do both parts of dynamic heads.
        seen = latest * (self.temporal_context + self.dynamic_context) // longest
        most = {"temporal_context": chunk, "dynamic_context": max(self.dynamic_context, chunk - 1)}
        dynamic = {
            name: Part(size, least=min(1, size), most=most[name] if size else 0)
            for name, size in (("temporal_context", self.temporal_context), ("dynamic_context", self.dynamic_context))
        }
        sizes = apportion(seen, dynamic)
        return replace(
            self,
            static_context=max(1, latest * self.static_context // longest),
            temporal_context=sizes["temporal_context"],
            dynamic_context=sizes["dynamic_context"],
            keep=self.keep if sizes["dynamic_context"] == self.dynamic_context else None,
        )

    def replays(self, frames: int) -> int:
        """Return how many frames are replayed at a prompt switch after so many."""
        longest = max(self.static_context, self.temporal_context, self.dynamic_context, self.sink, 1)
        return frames if self.replayed == "all" else min(longest, frames)
