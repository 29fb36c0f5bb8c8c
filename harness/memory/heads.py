"""Contexts that differ by head: which heads, what they may attend to, and frames that are kept for some heads only.

A head of a row of the batch is a number, row * heads of a layer + head, so that heads of different rows may be in one
group, as they have to be where a memory decides by row. Entries of some heads are a batch of heads: [n, frames, S, 1,
...], with the heads in the place of the rows; positions and weights of rows are those of heads then.

Shapes: B batch rows, H heads of a layer, n heads of a group, S tokens of a latent frame, N tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.errors import ShapeError
from harness.memory.entries import Entries
from harness.memory.packed import Packing, restored
from harness.memory.terms import MemorySpec

QUERIES = 128
"""Query tokens whose attention is computed at once."""


@lru_cache(maxsize=4096)
def _places(numbers: tuple[int, ...], of: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and heads of rows on a device, kept for the process."""
    with torch.inference_mode(False):
        rows, heads = (
            torch.tensor(part, dtype=torch.int64) for part in zip(*(divmod(n, of) for n in numbers), strict=True)
        )
        return rows.to(device, non_blocking=True), heads.to(device, non_blocking=True)


@dataclass(frozen=True)
class Heads:
    """Some heads of the rows of a batch.

    Parameters
    ----------
    numbers
        row * heads of a layer + head, each once; at least one.
    of
        Heads of a layer.
    """

    numbers: tuple[int, ...]
    of: int

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def rows(self) -> list[int]:
        """Row of each head."""
        return [number // self.of for number in self.numbers]

    def taken(self, x: Tensor) -> Tensor:
        """Return these heads of tokens [B, N, H, ...], a copy [n, N, 1, ...]."""
        rows, heads = _places(self.numbers, self.of, x.device)
        return x[rows, :, heads].unsqueeze(2)

    def put(self, x: Tensor, into: Tensor) -> None:
        """Write tokens [n, N, 1, ...] of these heads to their places in [B, N, H, ...]."""
        rows, heads = _places(self.numbers, self.of, x.device)
        into[rows, :, heads] = x.squeeze(2)

    def of_rows(self, x: Tensor) -> Tensor:
        """Return for each head what its row has: [B, ...] -> [n, ...]."""
        return x[_places(self.numbers, self.of, x.device)[0]]

    def split(self, entries: Entries) -> Entries:
        """Return these heads of entries [B, frames, S, H, ...] of a layout that holds heads apart.

        Returns
        -------
        Entries
            A copy, [n, frames, S, 1, ...].
        """
        return entries.by_frame(lambda x: self.taken(x.flatten(1, 2)).unflatten(1, x.shape[1:3]).contiguous())


def merged(parts: Sequence[tuple[Heads, Entries]], rows: int) -> Entries:
    """Return the entries of all heads, [B, frames, S, H, ...], of groups that have every head.

    Parameters
    ----------
    parts
        Heads, and entries as `Heads.split` gives them, of the same number of frames.
    rows
        Rows of the batch.
    """
    _, one = parts[0]
    whole = []
    for number, x in enumerate(one.tensors):
        out = x.new_empty(rows, x.shape[1] * x.shape[2], parts[0][0].of, *x.shape[4:])
        for heads, entries in parts:
            heads.put(entries.tensors[number].flatten(1, 2), out)
        whole.append(out.unflatten(1, x.shape[1:3]))
    return Entries(*whole)


@dataclass(frozen=True)
class HeadGroup:
    """The past that some heads of a layer may attend to.

    Parameters
    ----------
    heads
        For which heads.
    slots
        Whole frames of these heads only, [n, frames, S, 1, ...], by reference.
    positions
        One temporal id a frame, the same ones for all heads or [n, frames]; or (time, row, column) a token, [n or 1, N,
        3].
    weights
        Scale of every entry in this use, [n, N].
    """

    heads: Heads
    slots: tuple[Entries, ...]
    positions: Sequence[float] | Tensor
    weights: Tensor | None = None

    @property
    def frames(self) -> int:
        """Latent frames of all slots."""
        return sum(slot.frames for slot in self.slots)


@dataclass(frozen=True)
class GroupedContext:
    """The past that the chunk of one layer may attend to, where that differs by head.

    Heads of one group are attended to in one call, so few groups are better than many. Nothing here is ever written to.

    Parameters
    ----------
    groups
        Every head of every row is in exactly one of them.
    start
        Temporal id of the chunk's own first frame, for its queries and keys in all its passes; or one a row, [B].
    """

    groups: tuple[HeadGroup, ...]
    start: int | Tensor

    def check(self, layer: int, rows: int, heads: int) -> None:
        """Raise ShapeError unless every head of every row is in exactly one group."""
        given = [number for group in self.groups for number in group.heads.numbers]
        if sorted(given) == list(range(rows * heads)) and all(group.heads.of == heads for group in self.groups):
            return
        twice = sorted({number for number in given if given.count(number) > 1})
        missing = sorted(set(range(rows * heads)) - set(given))
        wrong = f"{_few(missing)} in none" if missing else f"{_few(twice)} in two" if twice else "others are named"
        raise ShapeError(
            f"layer {layer}: the groups of a context must have each of {rows * heads} heads (row * {heads} + head) "
            f"once: {wrong}"
        )


def _few(numbers: Sequence[int]) -> str:
    """A few numbers of heads as text."""
    return ", ".join(map(str, numbers[:4])) + (" and more" if len(numbers) > 4 else "")


def attention_shares(
    spec: MemorySpec, entries: Entries, ids: Sequence[int], query: Tensor, parts: Sequence[int], rows: Tensor | None
) -> Tensor:
    """Return which share of its attention each head gives to parts of what it sees, as a mean over query tokens.

    Parameters
    ----------
    spec
        Spec for which the memory was opened.
    entries
        All frames that are seen, [B, frames, S, H, ...], the chunk's own last.
    ids
        Temporal id of each frame.
    query
        Un-rotated queries of the chunk, [B, Q, H, channels].
    parts
        Frames of each part; all of them, in order.
    rows
        Query tokens that count; None for all.

    Returns
    -------
    Tensor
        [B, parts, H], in float32 at least.
    """
    layout, frames = spec.layout, query.shape[1] // spec.frame_tokens
    keys = layout.rotated(layout.keys(entries).flatten(1, 2), spec.places(ids)).permute(0, 2, 3, 1)
    places = spec.places(ids[len(ids) - frames :])
    if rows is not None:
        query, places = query[:, rows], places[:, rows]
    total: Tensor | float = 0.0
    for some, at in zip(query.split(QUERIES, 1), places.split(QUERIES, 1), strict=True):
        mass = (layout.rotated(some, at).transpose(1, 2) @ keys * keys.shape[2] ** -0.5).softmax(-1).sum(2)
        split = mass.split([part * spec.frame_tokens for part in parts], -1)
        total = total + torch.stack([part.sum(-1) for part in split], 1)
    assert isinstance(total, Tensor)
    return total / query.shape[1]


class HeldByHeads(NamedTuple):
    """Frames that a memory holds for some heads of a layer."""

    heads: Heads
    """For which."""
    frames: Mapping[int, Entries]
    """Entries of one frame each, [n, 1, S, 1, ...], by absolute frame id, by reference."""


@dataclass
class HeadFrames:
    """Frames of one layer that are kept for some of its heads, by absolute frame id.

    Parameters
    ----------
    heads
        For which heads.
    kept
        Entries of one frame each, [n, 1, S, 1, ...].
    """

    heads: Heads
    kept: dict[int, Entries] = field(default_factory=dict)

    def add(self, entries: Entries, start: int) -> None:
        """Copy these heads of new frames, entries [B, frames, S, H, ...], of which the first one has the id `start`."""
        for frame in range(entries.frames):
            self.kept[start + frame] = self.heads.split(entries[frame : frame + 1])

    def keep_last(self, frames: int) -> None:
        """Let all but the last frames go."""
        for frame in list(self.kept)[: max(0, len(self.kept) - frames)]:
            del self.kept[frame]

    @property
    def slots(self) -> tuple[Entries, ...]:
        """The frames, in order."""
        return tuple(self.kept.values())

    def group(self) -> HeadGroup:
        """Return the group that attends to all these frames at their ids."""
        return HeadGroup(self.heads, self.slots, list(self.kept))

    def held(self) -> HeldByHeads:
        """Return the frames as `Memory.held_by_heads` names them."""
        return HeldByHeads(self.heads, self.kept)

    def stored(self) -> Iterable[Tensor]:
        """Return all tensors."""
        return [x for entries in self.kept.values() for x in entries.stored]

    def state_dict(self) -> dict[str, Any]:
        """Return heads and frames."""
        frames = {frame: entries.state() for frame, entries in self.kept.items()}
        return {"heads": list(self.heads.numbers), "of": self.heads.of, "frames": frames}

    @classmethod
    def loaded(cls, state: Mapping[str, Any], packing: Packing | None = None) -> HeadFrames:
        """Return the frames of a state. packing: of the memory that goes on."""
        kept = {frame: restored(each, packing) for frame, each in state["frames"].items()}
        return cls(Heads(tuple(state["heads"]), state["of"]), kept)
