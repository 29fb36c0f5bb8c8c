"""The memory of MemFlow: a window, and beside it a bank whose frames the prompt chooses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from harness.memory import At, Context, Entries, MemorySpec, PromptSwitch, at_least_float32
from harness.memory.frames import FrameCache
from harness.memory.packed import restored
from strategies.memflow.schedule import Schedule
from strategies.memflow.selection import activated, fitting, fitting_heads, mean_query, rope_of, taken

OnSwitch = Literal["recache", "zero_sink", "keep"]
"""What becomes of window and sink at a prompt switch."""
ACTIVE = 3
"""Frames of sink and bank that a head attends to with sparse memory activation."""


class Bank(FrameCache):
    """A window, and for each layer a bank [B, frames, S, ...], of frames that differ by row.

    Parameters
    ----------
    window: latent frames in all, the bank not included. sink: latent frames that never leave.
    sma: whether each head attends to three frames of sink and bank only.
    hears: whether the new prompt chooses already at its switch; else nothing does.

    Attributes
    ----------
    bank, ids: of each layer; entries, and their absolute frame ids [B, frames].
    pending: the frame that was recorded last, of each layer.
    asked: the mean over the prompt of each layer's cross-attention keys, [B, heads, channels].
    """

    def __init__(
        self,
        spec: MemorySpec,
        schedule: Schedule,
        *,
        window: int,
        sink: int,
        sma: bool,
        hears: bool,
        on_switch: OnSwitch,
    ) -> None:
        super().__init__(spec, window=window, sink=sink, on_switch="keep" if on_switch == "keep" else "recache")
        self.schedule, self.sma, self.hears, self.zeroes = schedule, sma, hears, on_switch == "zero_sink"
        self.room = window - spec.chunk
        self.capacity = self.room - sink + (min(ACTIVE, sink + schedule.size) if sma else sink + schedule.size)
        shapes = [(spec.batch, 0, spec.frame_tokens, *shape) for shape in spec.layout.shapes]
        nothing = spec.packed(Entries(*(torch.empty(shape, dtype=spec.dtype, device=spec.device) for shape in shapes)))
        self.bank, self.pending = [nothing] * spec.layers, [nothing] * spec.layers
        self.ids = [torch.empty(spec.batch, 0, dtype=torch.int64, device=spec.device)] * spec.layers
        self.asked: list[Tensor] = []
        self.records = self.replaying = self.ready = False
        if spec.grid is not None:
            # Made now, because a device would have to be waited for in a pass.
            rope_of(spec)

    def hear(self, prompt: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.asked = [keys.to(at_least_float32(keys.dtype)).mean(1) for keys, _ in prompt]

    def begin_commit(self, at: At) -> None:
        self.records = not self.replaying and self.schedule.records(self.number(at.start))
        self.ready = self.replaying

    def number(self, start: int) -> int:
        """Return the number of the chunk that starts at a frame; the first one may be shorter."""
        return -(-start // self.spec.chunk)

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        super().remember(layer, entries, query, at)
        if self.records:
            self.pending[layer] = self.spec.packed(entries[:1]).copy()

    def trim(self, layer: int) -> None:
        kept = self.kept[layer]
        self.drop(layer, list(kept)[self.sink : self.sink + max(0, len(kept) - self.room)])

    def update(self, layer: int, start: int, asked: Tensor | None) -> None:
        """Let the bank take the pending frame before the chunk at `start`; `asked` chooses what stays, if not None."""
        chunk = self.number(start)
        if not self.schedule.takes(chunk):
            return
        bank, ids, before = self.bank[layer], self.ids[layer], self.schedule.filled(chunk) - 1
        if self.schedule.slots(chunk) > self.schedule.size and asked is not None:
            best = fitting(self.spec, bank, ids, asked).argsort(dim=1, descending=True, stable=True)[:, :before]
            bank, ids = bank.by_frame(lambda x: taken(x, best)), ids.gather(1, best)
        recorded = max(0, start - self.schedule.back(chunk) * self.spec.chunk)
        self.bank[layer] = Entries.cat([bank[:before], self.pending[layer]])
        self.ids[layer] = torch.cat((ids[:, :before], ids.new_full((len(ids), 1), recorded)), 1)

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context:
        if at.pass_index == 0 and not self.ready:
            self.update(layer, at.start, self.asked[layer])
        kept, bank = self.kept[layer], self.bank[layer]
        frames, sink = list(kept.values()), min(self.sink, len(kept))
        # Not made on the device, for which the host would wait.
        ids = torch.tensor(list(kept), dtype=torch.int64).to(self.spec.device, non_blocking=True)
        ids = ids.expand(self.spec.batch, -1)
        early = [*frames[:sink], *([bank] if bank.frames else [])]
        places = torch.cat((ids[:, :sink], self.ids[layer]), 1)
        if query is not None and places.shape[1] > ACTIVE:
            whole = Entries.cat(early)
            early = [activated(self.spec, whole, places, self.active(layer, whole, places, query, at))]
            places = torch.zeros_like(places[:, :ACTIVE])
        return Context((*early, *frames[sink:]), torch.cat((places, ids[:, sink:]), 1), at.start)

    def active(self, layer: int, entries: Entries, ids: Tensor, query: Tensor, at: At) -> Tensor:
        """Return the frames of sink and bank that fit the query best, by head, in rising order: [B, frames, heads]."""
        best = fitting_heads(self.spec, entries, ids, mean_query(self.spec, query, at))
        return best.argsort(dim=1, descending=True, stable=True)[:, :ACTIVE].sort(dim=1).values

    def stale(self, pass_index: int) -> bool:
        return self.sma

    def forget(self, switch: PromptSwitch) -> None:
        for layer, asked in enumerate(self.asked):
            self.update(layer, switch.start, asked if self.hears else None)
        self.ready = self.replaying = True
        assert self.window is not None
        if self.zeroes and switch.start > self.window:
            for kept in self.kept:
                kept.update({frame: self.zeros(kept[frame]) for frame in list(kept)[: self.sink]})
        super().forget(switch)
        self.replaying = False

    def zeros(self, entries: Entries) -> Entries:
        """Return zeros in place of entries."""
        return self.spec.packed(entries.map(torch.zeros_like))

    def stored(self) -> Iterable[Tensor]:
        frames = [x for entries in (*self.bank, *self.pending) for x in entries.stored]
        return [*super().stored(), *frames, *self.ids, *self.asked]

    def state_dict(self) -> dict[str, Any]:
        bank, pending = ([entries.state() for entries in each] for each in (self.bank, self.pending))
        return super().state_dict() | {"bank": bank, "pending": pending, "ids": self.ids}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        packing = self.spec.packing
        self.bank, self.pending = ([restored(x, packing) for x in state[name]] for name in ("bank", "pending"))
        self.ids = list(state["ids"])
