"""The memory of Forcing-KV: frames of all heads, then frames of static and of dynamic heads, and patches.

Shapes: B batch rows, n heads of a kind in all rows, S tokens of a latent frame, P patches of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from harness.memory import At, Context, Entries, GroupedContext, HeadGroup, Heads, Memory, MemorySpec, PromptSwitch
from harness.memory.heads import HeadFrames, HeldByHeads, merged
from harness.memory.packed import restored
from strategies.forcing_kv.kinds import Kind, gathered

OnSwitch = Literal["recache", "recache_all", "keep"]
"""What becomes of the sink at a prompt switch, if anything changes."""
FOREVER = 2**31
"""Latent frames that no video has."""
Frames = dict[int, Entries]


@dataclass(frozen=True)
class Sizes:
    """Sizes of the parts, in latent frames, `patches` of a frame aside; heads differ after chunk number `start`."""

    start: int
    sink: int
    static: int
    temporal: int
    dynamic: int
    patches: int

    @property
    def tail(self) -> int:
        """Last frames of layers whose heads do not differ."""
        return max(self.static, self.temporal)


class ByKind(Memory):
    """Sink and latest frames of each layer; by kind of head from layer 1 on, once heads differ.

    sink, latest: of layers that are not grouped, by frame. kinds: of each layer; empty lists before heads differ, and
    in layer 0. grouped: whether heads differ. places: (time, row, column) of the patches, [B, N, 3], of all layers.
    replays: how many frames a prompt switch replays after so many. lookback: as for every memory.
    """

    def __init__(
        self,
        spec: MemorySpec,
        static: Sequence[Sequence[int]],
        sizes: Sizes,
        on_switch: OnSwitch,
        replays: Callable[[int], int],
    ) -> None:
        self.spec, self.static, self.sizes, self.on_switch, self.replays = spec, static, sizes, on_switch, replays
        self.of, self.single = spec.layout.one_head()
        self.capacity = sizes.sink + max(sizes.tail, sizes.temporal + sizes.dynamic)
        self.lookback = 0 if on_switch == "keep" else replays(FOREVER)
        self.sink: list[Frames] = [{} for _ in range(spec.layers)]
        self.latest: list[Frames] = [{} for _ in range(spec.layers)]
        self.kinds: list[list[Kind]] = [[] for _ in range(spec.layers)]
        self.grouped = self.begins = self.replaying = False
        self.places: Tensor | None = None
        self.chosen: Tensor | None = None

    @property
    def steady(self) -> Collection[int]:
        # Of layer 0; the others differ by head.
        return (self.sizes.sink + self.sizes.tail,)

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        if self.kinds[layer]:
            return GroupedContext(tuple(map(self.group, self.kinds[layer])), at.start)
        sink, latest = self.sink[layer], self.latest[layer]
        return Context((*sink.values(), *latest.values()), (*sink, *latest), at.start)

    def group(self, kind: Kind) -> HeadGroup:
        """Return what heads of a kind see."""
        sink, latest = list(kind.sink.kept), list(kind.latest.kept)
        if kind.patches is None or self.places is None:
            return HeadGroup(kind.heads, (*kind.sink.slots, *kind.latest.slots), [*sink, *latest])
        frames = self.spec.places([*sink, *latest]).expand(len(self.places), -1, -1)
        places = torch.cat((frames, self.places), 1)
        places = kind.heads.of_rows(places) if len(places) > 1 else places
        return HeadGroup(kind.heads, (*kind.sink.slots, *kind.latest.slots, kind.patches), places)

    def begin_commit(self, at: At) -> None:
        late = -(-at.start // self.spec.chunk) >= self.sizes.start
        self.begins = not self.grouped and (late or self.replaying)
        self.chosen = None

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        if self.kinds[layer]:
            self.renew(layer, entries, at)
        else:
            self.take(layer, entries, at.start)
            if self.begins and layer:
                self.divide(layer)
        if layer == self.spec.layers - 1:
            self.grouped, self.chosen = self.grouped or self.begins, None

    def take(self, layer: int, entries: Entries, start: int) -> None:
        """Take in frames of all heads."""
        sink, latest = self.sink[layer], self.latest[layer]
        for frame in range(entries.frames):
            whole = entries[frame : frame + 1].copy()
            grows = len(sink) < self.sizes.sink and start + frame not in sink and not (self.grouped or latest)
            (sink if grows else latest)[start + frame] = whole
        for frame in list(latest)[: -self.sizes.tail]:
            del latest[frame]

    def divide(self, layer: int) -> None:
        """Let the heads of a layer keep their own frames from now on."""
        static = set(self.static[layer])
        for dynamic, tail in ((False, self.sizes.static), (True, self.sizes.temporal)):
            every = range(self.spec.batch * self.of)
            numbers = tuple(number for number in every if (number % self.of in static) != dynamic)
            if numbers:
                heads = Heads(numbers, self.of)
                kind = Kind(HeadFrames(heads), HeadFrames(heads), tail, dynamic)
                for mine, frames in ((kind.sink, self.sink[layer]), (kind.latest, self.latest[layer])):
                    for frame, whole in frames.items():
                        mine.add(whole, frame)
                kind.latest.keep_last(tail)
                self.kinds[layer].append(kind)
        self.sink[layer], self.latest[layer] = {}, {}

    def renew(self, layer: int, entries: Entries, at: At) -> None:
        """Take in a chunk by kind, and choose patches of the frames that dynamic heads have just seen."""
        for kind in self.kinds[layer]:
            if kind.dynamic and kind.latest.kept and self.sizes.dynamic:
                new = kind.heads.split(entries)
                whole = Entries.cat([*kind.latest.slots, new])
                ids = [*kind.latest.kept, *range(at.start, at.start + at.frames)]
                if self.chosen is None:
                    self.chosen = self.choose(whole, ids[: at.frames + 1])
                patches = gathered(whole[: at.frames], kind.heads.of_rows(self.chosen), self.sizes.patches)
                kind.patches = self.spec.packed(patches)
            kind.latest.add(entries, at.start)
            kind.latest.keep_last(kind.tail)

    def choose(self, entries: Entries, ids: list[int]) -> Tensor:
        """Return the patches that are least like those of the next frame, in rising order, [B, patches].

        The last frame of `ids` is compared with, not chosen from.
        """
        rows, frames = self.spec.batch, len(ids)
        keys = self.single.keys(entries[:frames]).flatten(1, 2)
        keys = self.single.rotated(keys, self.spec.places(ids)).unflatten(1, (frames, -1)).squeeze(3)
        # All dynamic heads of a row are one long key.
        keys = keys.unflatten(0, (rows, -1)).permute(0, 2, 3, 1, 4).flatten(3)
        alike = torch.cosine_similarity(keys[:, :-1], keys[:, 1:], -1)
        alike = alike.unflatten(2, (self.sizes.patches, -1)).mean(-1).flatten(1)
        count = self.sizes.dynamic * self.sizes.patches
        chosen = alike.argsort(dim=1, stable=True)[:, :count].sort(dim=1).values
        places = self.spec.places(ids[:-1]).unflatten(1, (alike.shape[1], -1))[0]
        self.places = places[chosen].flatten(1, 2)
        return chosen

    def forget(self, switch: PromptSwitch) -> None:
        if self.on_switch == "keep":
            return
        for layer, kinds in enumerate(self.kinds):
            if kinds:
                ids = list(kinds[0].sink.kept)
                parts = [[(kind.heads, kind.sink.kept[frame]) for kind in kinds] for frame in ids]
                self.sink[layer] = {
                    frame: self.spec.packed(merged(each, self.spec.batch))
                    for frame, each in zip(ids, parts, strict=True)
                }
            self.kinds[layer], self.latest[layer] = [], {}
            if self.on_switch == "recache_all":
                self.sink[layer] = {}
        self.grouped, self.places = False, None
        again, self.replaying = self.replays(switch.start), True
        switch.replay(switch.latents[:, switch.latents.shape[1] - again :], switch.start - again)
        self.replaying = False

    def held(self, layer: int) -> Mapping[int, Entries]:
        return {**self.sink[layer], **self.latest[layer]}

    def held_by_heads(self, layer: int) -> Sequence[HeldByHeads]:
        return [part.held() for kind in self.kinds[layer] for part in (kind.sink, kind.latest)]

    def stored(self) -> Iterable[Tensor]:
        whole = [entries for frames in (*self.sink, *self.latest) for entries in frames.values()]
        tensors = [x for entries in whole for x in entries.stored]
        kinds = [x for kinds in self.kinds for kind in kinds for x in kind.stored()]
        return [*tensors, *kinds, *(x for x in (self.places, self.chosen) if x is not None)]

    def state_dict(self) -> dict[str, Any]:
        def tensors(layers: list[Frames]) -> list[dict[int, Any]]:
            return [{frame: entries.state() for frame, entries in frames.items()} for frames in layers]

        kinds = [[kind.state_dict() for kind in kinds] for kinds in self.kinds]
        whole = {"sink": tensors(self.sink), "latest": tensors(self.latest)}
        places = [] if self.places is None else [self.places]
        return {**whole, "kinds": kinds, "grouped": self.grouped, "places": places}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        def frames(layers: Any) -> list[Frames]:
            return [{frame: restored(each, self.spec.packing) for frame, each in kept.items()} for kept in layers]

        self.sink, self.latest, self.grouped = frames(state["sink"]), frames(state["latest"]), state["grouped"]
        self.places = next(iter(state["places"]), None)
        self.kinds = [[Kind.loaded(kind, self.spec.packing) for kind in kinds] for kinds in state["kinds"]]
