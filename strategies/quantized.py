"""Quantized: any policy with its frames in fewer bits, so that equal bytes hold more of them.

Paper: KIVI, arXiv:2402.02750, whose scales are followed: asymmetric, keys by channel, values by token, minimum and step
a group. `harness.memory.packed` says how numbers are packed.
Keeps and drops what the policy keeps and drops. Entries are packed when they are committed; laying a context out
unpacks them. What a policy computes with, such as keys that it scores and frames that it averages, it reads unpacked,
once rounded; averages stay in the data type that the policy says.

Deviations. A group is a channel of one frame's tokens, where KIVI's are 32 tokens long: memories keep and drop frames.
KIVI leaves the latest tokens exact and packs them in blocks; here `exact_recent` does so for the latest chunk, beside a
packed copy that the policy holds already, so that any policy can have it. `exact_sink` is not in the paper. int4 stands
beside KIVI's 2 bits; fp8 (e4m3 with the same groups) is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from torch import Tensor

from harness import registry
from harness.errors import BudgetError, KnobError
from harness.memory import (
    At,
    Context,
    Entries,
    GroupedContext,
    Memory,
    MemorySpec,
    PromptSwitch,
    Strategy,
)
from harness.memory.budget import META, fitted, readable
from harness.memory.packed import Packing, Store, check_packing, packed, restored
from harness.memory.proxy import Watched, Wrapping


@dataclass(frozen=True, kw_only=True, repr=False)
class Quantized(Wrapping):
    """Another strategy whose frames are kept in 8 or 4 bits with scales.

    policy: which frames are kept: another strategy, or as text NAME or NAME.KNOB=VALUE; several knobs in brackets on
        the command line, policy=[memrope.window=24,sink=1]. `videomla` gives a quantised latent cache.
    store: "int8" or "int4", asymmetric; or "fp8", e4m3.
    exact_sink: whether the frames of the policy's sink stay exact. exact_recent: whether the latest committed chunk is
        seen exactly; it is held exactly beside its packed form until the next one is there.
    """

    paper = "https://arxiv.org/abs/2402.02750"

    policy: Strategy = field(default_factory=lambda: cast(Strategy, registry.strategy_in_knob("attention_sink")))
    store: Store = "int8"
    exact_sink: bool = False
    exact_recent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", registry.strategy_in_knob(self.policy))
        super().__post_init__()
        if isinstance(self.policy, Quantized):
            raise KnobError("quantized: policy quantized packs its frames already; give the policy inside of it")
        if self.exact_sink and not self.policy.kept_sink:
            name = registry.name_of(self.policy)
            raise KnobError(f"quantized: policy {name} keeps no sink as it is; leave exact_sink out")
        if self.exact_recent and self.policy.by_heads:
            name = registry.name_of(self.policy)
            raise KnobError(f"quantized: policy {name} holds frames by head, all packed alike; leave exact_recent out")

    @property
    def wrapped(self) -> Strategy:
        return self.policy

    def parts(self) -> dict[str, Strategy]:
        return {"policy": self.policy}

    @property
    def starts_as_full(self) -> bool:
        """False: it attends to packed frames."""
        return False

    def cached(self, spec: MemorySpec) -> MemorySpec:
        return replace(super().cached(spec), store=self.store)

    def open(self, spec: MemorySpec) -> Memory:
        inner = super().open(spec)
        sink = self.policy.kept_sink if self.exact_sink else 0
        return _Packing(self.cached(spec), inner, sink=sink, recent=self.exact_recent)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        return super().footprint(spec, frames) + self.exact_bytes(spec, frames)

    def exact_bytes(self, spec: MemorySpec, frames: int) -> int:
        """Return the bytes beyond the policy's own, after so many committed frames: those of frames that stay exact."""
        frame, short = (each.bytes(spec.frame_tokens) for each in (self.policy.cached(spec), self.cached(spec)))
        sink = min(frames, self.policy.kept_sink) * (frame - short) if self.exact_sink else 0
        return sink + self.exact_recent * min(frames, spec.chunk) * frame

    def at_budget(self, spec: MemorySpec, budget: int) -> Quantized:
        """Return the policy at these bytes, which hold more frames in fewer bits; what stays exact counts in full."""
        self.open(replace(spec, device=META))  # or say why not
        policy = type(self.policy)
        if self.bounded and policy.at_budget is Strategy.at_budget and policy.resized is not Strategy.resized:
            sized = cast(Quantized, fitted(self, spec, budget, resizable=True))
            return self if sized == self else sized
        left = budget - self.exact_bytes(spec, spec.chunk + self.policy.kept_sink)
        if left <= 0:
            raise BudgetError(f"the frames that stay exact take all of {readable(budget)}; leave one of the knobs out")
        found = self.policy.at_budget(self.cached(spec), left)
        return self if found == self.policy else replace(self, policy=found)

    def resized(self, spec: MemorySpec, frames: int) -> Quantized:
        return replace(self, policy=self.policy.resized(self.cached(spec), frames))


class _Packing(Watched):
    """Hands a policy packed entries, and shows the latest chunk exactly where that is asked for.

    Parameters
    ----------
    spec: that the policy's memory was opened for.
    inner: that memory.
    sink: frames of its sink that stay exact. recent: whether the latest chunk is seen exactly.
    """

    def __init__(self, spec: MemorySpec, inner: Memory, *, sink: int, recent: bool) -> None:
        super().__init__(inner)
        assert spec.packing is not None
        self.spec, self.sink, self.shows_recent = spec, sink, recent
        self.packing: Packing = spec.packing
        self.recent: list[dict[int, Entries]] = [{} for _ in range(spec.layers)]
        self.first = 0  # the frame with which the sink begins
        self.replaying = False

    def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
        context, recent = self.inner.recall(layer, query, at), self.recent[layer]
        if not recent or isinstance(context, GroupedContext):
            return context
        held = self.inner.held(layer)
        exact = {id(held[frame]): entries for frame, entries in recent.items() if frame in held}
        return replace(context, slots=tuple(exact.get(id(slot), slot) for slot in context.slots))

    def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
        if self.replaying and not self.inner.held(layer):
            # A replay of everything makes a new sink of its first frames.
            self.first = at.start
        lent = packed(entries, self.packing, min(at.frames, self.first + self.sink - at.start))
        self.inner.remember(layer, lent, query, at)
        if self.shows_recent:
            latest = range(max(0, at.frames - self.spec.chunk), at.frames)
            self.recent[layer] = {at.start + frame: entries[frame : frame + 1].copy() for frame in latest}

    def forget(self, switch: PromptSwitch) -> None:
        self.replaying = True
        self.inner.forget(switch)
        self.replaying = False

    def held(self, layer: int) -> Mapping[int, Entries]:
        held = self.inner.held(layer)
        return {frame: self.recent[layer].get(frame, entries) for frame, entries in held.items()}

    def stored(self) -> Iterable[Tensor]:
        recent = [x for frames in self.recent for entries in frames.values() for x in entries.stored]
        return [*self.inner.stored(), *recent]

    def state_dict(self) -> dict[str, Any]:
        recent = [{frame: entries.state() for frame, entries in frames.items()} for frames in self.recent]
        return {"packing": str(self.packing), "first": self.first, "recent": recent, "policy": self.inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_packing(state.get("packing"), self.packing)
        self.first = state["first"]
        self.recent = [{frame: restored(each, None) for frame, each in frames.items()} for frames in state["recent"]]
        self.inner.load_state_dict(state["policy"])
