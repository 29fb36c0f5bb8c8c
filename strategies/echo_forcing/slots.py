"""Roles of frames: bidirectional rolling anchors, recent window, history. Frame ids only, no tensors.

Paper: Echo-Forcing, arXiv:2605.16003, hierarchical temporal memory; positions of the blocks from the released code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


def anchor_block(firsts: list[int], clock: int, window: int, chunk: int) -> list[int]:
    """Return the block of a scene's first frames that becomes the newest anchor at slot `clock` of the scene.

    Blocks run through the first frames back and forth; on the way back a block's frames are reversed. For blocks of 3
    out of 12: 11 10 9 | 8 7 6 | 5 4 3 | 2 1 0 | 0 1 2 | 3 4 5 | 6 7 8 | 9 10 11, repeated.
    """
    period = len(firsts)
    turn, place = divmod(clock - (window - period), period)
    place -= place % chunk
    if turn % 2:
        return firsts[period - place - chunk : period - place][::-1]
    return firsts[place : place + chunk]


@dataclass(kw_only=True)
class Slots:
    """The roles of one memory's frames; all layers share one instance.

    In slot order a context is anchors, compressed tokens, tail. Until the window is full every frame is in the tail; a
    scene's carried frames, from earlier scenes, come first in it.

    window: latent frames in all, a chunk included. anchors_room, compressed_room: frames of each part once the window
    is full. period: number of first frames from which anchors are taken, 0 for anchors that stay. history_room: frames
    from which compression chooses. keepsakes: offsets of the frames of a scene that are needed at its end.
    keeps_head: whether the first whole frame that the latest chunk saw is needed until the next chunk.
    """

    window: int
    chunk: int
    anchors_room: int
    compressed_room: int
    period: int
    history_room: int
    keepsakes: tuple[int, ...] = ()
    keeps_head: bool = False

    scene_start: int = 0
    chunks: int = 0
    """Committed chunks of the scene."""
    rolled: bool = False
    refilled: int = 0
    """Number of newest anchors that come from the roll; the others stand where they were when the window filled."""
    head: list[int] = field(default_factory=list)
    carried: list[int] = field(default_factory=list)
    anchors: list[int] = field(default_factory=list)
    tail: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    history: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)

    def enter(self, start: int, carried: Iterable[int]) -> None:
        """Begin a new scene at absolute frame `start` behind these carried frames."""
        self.scene_start, self.chunks, self.rolled, self.refilled = start, 0, False, 0
        self.carried = list(carried)
        self.tail = list(self.carried)
        self.anchors, self.head, self.firsts, self.history, self.kept = [], [], [], [], []

    def append(self, start: int, frames: int) -> None:
        """Add committed frames."""
        ids = range(start, start + frames)
        self.tail += ids
        if self.compressed_room:
            self.history = [*self.history, *ids][-self.history_room :]
        self.kept += [frame for frame in ids if frame - self.scene_start in self.keepsakes]
        self.chunks += 1

    def drop_carried(self) -> None:
        """Drop the frames that were carried over from earlier scenes."""
        for part in (self.tail, self.anchors, self.firsts):
            part[:] = [frame for frame in part if frame not in self.carried]
        self.carried = []

    def make_room(self) -> list[int]:
        """Evict until the next chunk fits. Return the frames replaced by compressed ones, at the first eviction."""
        self.head = (self.anchors or self.tail)[:1] if self.keeps_head else []
        clock = self.tail[-1] + 1 - self.scene_start + len(self.carried)
        over = self.frames + self.chunk - self.window
        if over <= 0:
            return []
        middle: list[int] = []
        if not self.rolled:
            self.rolled = True
            self.firsts = self.tail[: self.period]
            upto = self.anchors_room + self.compressed_room
            self.anchors, middle = self.tail[: self.anchors_room], self.tail[self.anchors_room : upto]
            self.tail = self.tail[upto:]
        self.tail = self.tail[over:]
        if self.period and self.anchors_room:
            shifted = self.anchors[over:]
            if clock >= self.window:
                block = anchor_block(self.firsts, clock, self.window, self.chunk)
                self.anchors = shifted[: self.anchors_room - self.chunk] + block
                self.refilled = min(self.refilled + self.chunk, self.anchors_room)
            else:  # reached only where a first chunk is shorter than the others
                self.anchors = shifted + self.anchors[len(self.anchors) - over :]
        return middle

    @property
    def frames(self) -> int:
        """Number of frames of the context."""
        return len(self.anchors) + self.compressed_room * self.rolled + len(self.tail)

    @property
    def live(self) -> set[int]:
        """Frames that have at least one role."""
        return {*self.anchors, *self.tail, *self.firsts, *self.history, *self.kept, *self.head}

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Slots:
        return cls(**state | {"keepsakes": tuple(state["keepsakes"])})
