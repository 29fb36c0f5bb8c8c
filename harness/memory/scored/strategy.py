"""A strategy whose subclasses say how tokens are scored, and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le
from torch import Tensor

from harness.memory.budget import Part, apportion
from harness.memory.frames import check_window
from harness.memory.scored.choice import check_queries_meet_keys, check_reuse
from harness.memory.scored.memory import Parts, Places, ScoredMemory, scored_bytes
from harness.memory.scored.tokens import Tokens
from harness.memory.seam import Memory
from harness.memory.strategy import Strategy
from harness.memory.terms import MemorySpec

MaxReuse = Annotated[int, Ge(1), Le(255)] | None
"""How often a token may be chosen."""


@dataclass(frozen=True, kw_only=True)
class Scored(Strategy):
    """Sink frames, the tokens with the highest scores, and recent frames; subclasses say how tokens are scored.

    window: latent frames in all, current chunk included; what sink, recent frames and chunk leave is chosen tokens.
    sink: latent frames that never leave. recent: latest latent frames beside the chunk, kept whole.
    max_reuse: how often a token may be chosen; none for no limit.
    positions: temporal ids: all of slots, or chosen tokens and all others at the ids of their own frames.
    """

    accumulates: ClassVar[bool] = False

    window: Annotated[int, Ge(1)] = 12
    sink: Annotated[int, Ge(0)] = 3
    recent: Annotated[int, Ge(0)] = 3
    max_reuse: MaxReuse = None
    positions: Places = "slot"

    @abstractmethod
    def scores(self, tokens: Tokens) -> Tensor:
        """Return the scores of tokens of one layer; nothing here may wait for the device.

        Parameters
        ----------
        tokens
            Tokens that may leave; with `accumulates` all tokens that are held, at every commit.

        Returns
        -------
        Tensor
            [B, N]; the highest stay, and -inf never does.
        """

    def open(self, spec: MemorySpec) -> Memory:
        name, chosen = type(self).__name__, self.window - spec.chunk - self.sink - self.recent
        check_window(name, spec, self.window, self.sink, self.recent + 1)
        check_reuse(name, self.max_reuse, chosen, spec.chunk)
        if self.reads_query:
            check_queries_meet_keys(spec)
        capacity = self.window - spec.chunk
        how: dict[str, Any] = {"positions": self.positions, "max_reuse": self.max_reuse}
        return ScoredMemory(spec, self._parts(spec), capacity, self.scores, accumulates=self.accumulates, **how)

    def _parts(self, spec: MemorySpec) -> Parts:
        return Parts(self.sink, self.window - spec.chunk - self.sink - self.recent, self.recent)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        parts, full = self._parts(spec), frames > self.window - spec.chunk
        whole, chosen = (self.sink + self.recent, parts.chosen) if full else (frames, 0)
        counts = self.max_reuse is not None
        return scored_bytes(spec, whole, chosen, counts=counts, accumulates=self.accumulates)

    def resized(self, spec: MemorySpec, frames: int) -> Scored:
        parts = self._parts(spec)
        sizes = {
            "sink": Part(self.sink, least=min(1, self.sink), most=self.sink),
            "chosen": Part(parts.chosen, least=1),
            "recent": Part(self.recent, least=min(1, self.recent)),
        }
        found = apportion(frames, sizes)
        return replace(self, window=frames + spec.chunk, sink=found["sink"], recent=found["recent"])

    def position_limit(self, spec: MemorySpec) -> int | None:
        return self.window if self.positions == "slot" else None
