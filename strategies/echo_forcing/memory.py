"""Scene memory of one rollout: frames by reference, and the operations remember, recall and forget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from harness.errors import KnobError
from harness.memory import At, Boundary, Context, Entries, Memory, MemorySpec, PromptSwitch, at_least_float32
from harness.memory.scored import choose, take
from strategies.echo_forcing.compression import Calibration, Scoring
from strategies.echo_forcing.decay import decay_rates
from strategies.echo_forcing.layer import Layer
from strategies.echo_forcing.pool import Pool, Scene
from strategies.echo_forcing.scenes import RecallFrame, recall_frame
from strategies.echo_forcing.slots import Slots
from strategies.echo_forcing.transition import Transition

CompressedRope = Literal["slot", "time", "original"]

RECALLED = -1
"""Frame id of a recalled frame; carried raw frames keep their own ids."""


class SceneMemory(Memory):
    """The memory of one rollout.

    Parameters
    ----------
    slots: the roles of the window's frames, empty. pool: earlier scenes. scoring: scores of the history's tokens.
    transitions: parameters of each kind of boundary. All others are knobs of `EchoForcing`.
    """

    def __init__(
        self,
        spec: MemorySpec,
        slots: Slots,
        pool: Pool,
        scoring: Scoring,
        transitions: Mapping[Boundary, Transition],
        *,
        recent: int,
        max_reuse: int | None,
        compressed_rope: CompressedRope,
        recall_frame: RecallFrame,
        base_weight: float,
        stride: int,
    ) -> None:
        self.spec, self.slots, self.pool, self.scoring, self.transitions = spec, slots, pool, scoring, transitions
        self.recent, self.max_reuse, self.compressed_rope = recent, max_reuse, compressed_rope
        self.recall_frame, self.base_weight, self.stride = recall_frame, base_weight, stride
        self.sources = {each.source for each in transitions.values()}
        self.capacity = self.slots.window - spec.chunk
        self.layers = [Layer() for _ in range(spec.layers)]
        self.transition: Transition | None = None
        self.jump: int | Tensor = 0
        self.wide = at_least_float32(spec.dtype)
        # Actions of the current commit pass, the same for every layer; set by `begin_commit`.
        self._calibrates = self._enters = self._drops = False
        self._middle: list[int] = []

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        own, slots = self.layers[layer], self.slots
        if own.compressed is not None:
            assert query is not None
            self._compress(own, query)
        frames = [own.frames[frame] for frame in slots.anchors]
        frames += [] if own.compressed is None else [own.compressed]
        frames += [own.frames[frame] for frame in slots.tail]
        enters = slots.scene_start > 0 and at.start == slots.scene_start
        start = slots.frames + self.jump if enters else slots.frames
        return Context(tuple(frames), self._positions(own), start, self._weights(own))

    def _compress(self, own: Layer, query: Tensor) -> None:
        """Choose again which tokens of the history stay visible; the newest frames are visible anyway."""
        ids = self.slots.history[: -self.recent]
        calibration, before = own.calibration, own.compressed
        if not ids or calibration is None or before is None:
            return
        layout = self.spec.layout
        keys = [layout.keys(own.frames[frame])[:, 0] for frame in ids]
        recent = query.to(self.wide).mean(1)
        scores = self.scoring.scores(keys, calibration, recent, self.recent + 1)
        most = self.max_reuse
        if most is not None:
            uses = torch.cat([own.uses[frame] for frame in ids], 1)
            scores = scores.masked_fill(uses >= most, -torch.inf)
        tokens = self.spec.frame_tokens
        places, there = choose(scores, before.frames * tokens)

        exact = [own.frames[frame].tensors for frame in ids]

        def taken(part: int, old: Tensor) -> Tensor:
            chosen = take([tensors[part] for tensors in exact], old.flatten(1, 2), places, there)
            return chosen.view(old.shape)

        own.compressed = self.spec.packed(Entries(*(taken(part, old) for part, old in enumerate(before.tensors))))
        if own.places is not None:
            where = torch.where(there, places % tokens, own.places[:, : places.shape[1]])
            own.places = torch.cat((where, own.places[:, places.shape[1] :]), 1)
        if most is not None:
            uses = uses.scatter_add(1, places, there.to(uses.dtype))
            own.uses.update(zip(ids, (x.clone() for x in uses.split(tokens, 1)), strict=True))

    def _positions(self, own: Layer) -> list[int] | Tensor:
        """Return slots, or (time, row, column) where chosen tokens have rows and columns of their own."""
        slots, spec = self.slots, self.spec
        if self.compressed_rope == "slot" or own.compressed is None:
            return list(range(slots.frames))
        if spec.grid is None:
            raise KnobError("echo_forcing.compressed_rope: only 'slot' is possible where the grid of tokens is unknown")
        device, columns = spec.device, spec.grid[1]
        place = torch.arange(spec.frame_tokens, device=device).expand(spec.batch, slots.frames, -1)
        time = torch.arange(slots.frames, device=device)[None, :, None].expand_as(place)
        at = torch.stack((time, place // columns, place % columns), -1)
        here = slice(len(slots.anchors), len(slots.anchors) + slots.compressed_room)
        if own.places is None:
            at[:, here, :, 1:] = 0
        else:
            where = own.places.view(spec.batch, -1, spec.frame_tokens)
            at[:, here, :, 1], at[:, here, :, 2] = where // columns, where % columns
        return at.flatten(1, 2)

    def _weights(self, own: Layer) -> Tensor | None:
        """Return the weight of every entry, [B, N], or None where all weights are 1."""
        slots, spec = self.slots, self.spec
        if own.fade is None:
            return None
        weights = own.fade.new_ones(spec.batch, slots.frames, spec.frame_tokens)
        # Frames that the roll returns to the anchors have their full weight again.
        full = slots.refilled + slots.compressed_room * slots.rolled
        window = [*slots.anchors[: len(slots.anchors) - slots.refilled], *[None] * full, *slots.tail]
        for slot, frame in enumerate(window):
            if frame in slots.carried:
                weights[:, slot] = own.fade[:, slots.carried.index(frame)]
        return weights.flatten(1)

    def begin_commit(self, at: At) -> None:
        """Assign the roles of all frames for the next chunk."""
        slots, transition = self.slots, self.transition
        slots.append(at.start, at.frames)
        self._calibrates = bool(slots.compressed_room) and not slots.rolled and slots.frames <= slots.window
        self._enters = slots.chunks == 1
        self._drops = False
        if transition is not None and transition.drop_after and slots.carried:
            full = slots.frames + slots.chunk > slots.window
            self._drops = full or slots.chunks == transition.drop_after
        if self._drops:
            slots.drop_carried()
        self._middle = slots.make_room()

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        assert query is not None
        own, slots = self.layers[layer], self.slots
        for frame in range(at.frames):
            own.frames[at.start + frame] = entries[frame : frame + 1].copy()
        self._listen(own, query)
        self._fade(own, entries)
        if self._middle:
            own.compressed = Entries.cat([own.frames[frame] for frame in self._middle])
            if self.compressed_rope == "original":
                here = torch.arange(self.spec.frame_tokens, device=self.spec.device)
                own.places = here.repeat(self.spec.batch, slots.compressed_room)
        if self.max_reuse is not None:
            shape = (self.spec.batch, self.spec.frame_tokens)
            unused = partial(torch.zeros, shape, dtype=torch.uint8, device=self.spec.device)
            own.uses = {frame: own.uses[frame] if frame in own.uses else unused() for frame in slots.history}
        live = slots.live
        own.frames = {frame: kept for frame, kept in own.frames.items() if frame in live}

    def _listen(self, own: Layer, query: Tensor) -> None:
        """Accumulate the queries of a clean pass."""
        if self._calibrates:
            if own.calibration is None:
                own.calibration = Calibration.empty(query, self.wide)
            own.calibration.add(query)
        if "compress" in self.sources:
            total = query.to(self.wide).sum(1)
            own.queries = total if own.queries is None else own.queries + total
            own.tokens += query.shape[1]

    def _fade(self, own: Layer, entries: Entries) -> None:
        """Scale carried entries by the decay of one chunk, or drop their weights with them."""
        if own.fade is None or self.transition is None:
            return
        if self._enters:
            keys = self.spec.layout.keys
            first = own.frames[self.slots.carried[0]] if self.slots.carried else None
            if first is not None:
                fast, slow = self.transition.decay
                own.rates = decay_rates(keys(entries)[:, 0], keys(first)[:, 0], slow, fast)
        if self._drops:
            own.fade = own.rates = None
        elif own.rates is not None:
            own.fade = own.fade * own.rates[:, None]

    def forget(self, switch: PromptSwitch) -> None:
        transition = self.transitions[switch.kind]
        slots = self.slots
        self.pool.add(self._scene(switch))
        rows, jumps = self.pool.recalled(switch, transition.jump)
        raw = [frame for frame in slots.tail if frame not in slots.carried]
        raw = raw[max(0, len(raw) - transition.old_recent) :]
        if transition.source == "resink":
            raw = [*slots.head, *raw]
        recalls = transition.source in ("compress", "select")
        carried = [RECALLED, *raw] if recalls else raw
        for number, own in enumerate(self.layers):
            frames = {frame: own.frames[frame] for frame in raw}
            if recalls:
                frames[RECALLED] = self.pool.frame(rows, transition.source, number, self.spec)
            fresh = Layer(frames=frames)
            if carried and transition.fades:
                shape = (self.spec.batch, len(carried), self.spec.frame_tokens)
                fresh.fade = torch.full(shape, transition.weight, dtype=self.wide, device=self.spec.device)
            self.layers[number] = fresh
        slots.enter(switch.start, carried)
        self.transition = transition
        same = len(set(jumps)) == 1
        self.jump = jumps[0] if same else torch.tensor(jumps, device=self.spec.device)

    def _scene(self, switch: PromptSwitch) -> Scene:
        """Return the record of the scene that ends."""
        kept = self.slots.kept
        candidates = [frame for frame in kept if (frame - self.slots.scene_start) % self.stride == 0]
        frames: dict[str, list[Entries]] = {}
        for own in self.layers:
            if "select" in self.sources:
                frames.setdefault("select", []).append(own.frames[kept[0]])
            if "compress" in self.sources:
                assert own.queries is not None
                parts = [own.frames[frame] for frame in candidates]
                keys = [self.spec.layout.keys(part) for part in parts]
                query = own.queries / own.tokens
                made = recall_frame(parts, keys, query, self.recall_frame, self.base_weight)
                frames.setdefault("compress", []).append(self.spec.packed(made))
        return Scene.of(switch, frames)

    def held(self, layer: int) -> Mapping[int, Entries]:
        return {frame: kept for frame, kept in self.layers[layer].frames.items() if frame != RECALLED}

    def stored(self) -> Iterable[Tensor]:
        for own in self.layers:
            yield from own.stored()
        yield from self.pool.stored()
        if isinstance(self.jump, Tensor):
            yield self.jump

    def state_dict(self) -> dict[str, Any]:
        return {
            "slots": self.slots.state_dict(),
            "layers": [own.state_dict() for own in self.layers],
            "pool": self.pool.state_dict(),
            "kind": self.pool.last_kind,
            "jump": self.jump,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.slots = self.slots.of(state["slots"])
        self.layers = [Layer.of(each, self.spec.packing) for each in state["layers"]]
        self.pool.load_state_dict(state["pool"], self.spec.packing)
        self.transition = None if state["kind"] is None else self.transitions[state["kind"]]
        self.jump = state["jump"]
