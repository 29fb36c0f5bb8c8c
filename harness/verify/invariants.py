"""Invariants of every memory: one function an invariant, run on a workbench.

Each returns what it looked at, raises BrokenError with a sentence that says what broke and where, or raises
NotApplicableError with the reason why the invariant does not apply.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

import torch
from torch import Tensor

from harness.memory import At, Boundary, Context, Entries, GroupedContext, Memory
from harness.memory.frames import FrameCache
from harness.memory.proxy import Watched
from harness.rollout import EncodedCue
from harness.verify.bench import Workbench
from harness.verify.parts import Place, all_held, heads_with_nan, held_in, pieces_of, takes_nan, times_of, whole_frames

TOLERANCE = 2e-5
LONG_CHUNKS = 40
SETTLES = 10
"""Chunks that a memory may take to fill beyond its context, for what it holds but does not show."""
RESUMED = 12
NUDGE = 1.0
TURNS = 10
"""Chunks within which every held frame has its turn."""


class BrokenError(Exception):
    """An invariant does not hold; the message says where."""


class NotApplicableError(Exception):
    """An invariant does not apply; the message says why."""


def _same(ours: list[Tensor], theirs: list[Tensor], what: str, tolerance: float = 0.0) -> None:
    """Raise BrokenError at the first chunk in which two runs differ; NaN counts as a difference."""
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        difference = (a - b).abs().max().item()
        if not difference <= tolerance:
            raise BrokenError(f"{what}: chunk {number} differs by {difference:.2g} (allowed: {tolerance:.2g})")


def prefix_causality(bench: Workbench) -> str:
    """A chunk depends on nothing that comes later: not on the horizon, later noise, or a later switch."""
    whole, half = bench.latents(), bench.chunks // 2

    class Later:
        """Other noise from chunk `half` on."""

        def initial(self, chunk: int, *draw: Any) -> Tensor:
            return bench.noise(int(chunk >= half)).initial(chunk, *draw)

        def renoise(self, chunk: int, *draw: Any) -> Tensor:
            return bench.noise(int(chunk >= half)).renoise(chunk, *draw)

    _same(bench.latents(half), whole, f"a video of {half} chunks is not the start of one of {bench.chunks}")
    _same(bench.latents(noise=Later())[:half], whole, f"noise of chunk {half} and later reaches back")
    _same(bench.latents(switches=bench.switches(half))[:half], whole, f"a switch at chunk {half} reaches back")
    return f"{half} chunks, against another horizon, other later noise and a later switch"


def equal_to_full(bench: Workbench) -> str:
    """Until it first evicts, a memory is full attention."""
    if not bench.strategy.starts_as_full:
        raise NotApplicableError("attends to a memory of its own before anything is evicted, as documented")
    evicted: list[int] = []

    class Watch(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
            # What no longer fits into a context is evicted from it, also where it is held for later.
            full = self.capacity is not None and at.start > self.capacity
            if full or whole_frames(self.inner, layer) != set(range(at.start)):
                evicted.append(at.start // bench.chunk)
            return super().recall(layer, query, at)

    ours = bench.latents(watch=Watch)
    until = min(evicted, default=len(ours))
    # The reference is the same rollout with a memory that never evicts in place of this one.
    full = bench.latents(until, watch=lambda _: FrameCache(bench.spec(), window=None)) if until else []
    _same(ours[:until], full, "not full attention although nothing is evicted", TOLERANCE)
    if until < 2:
        raise NotApplicableError("evicts as soon as there is something to remember")
    return f"chunks 0 to {until - 1}, within {TOLERANCE:.0e}"


def evicted_not_read(bench: Workbench) -> str:
    """Nothing changes when what was lent, and what was let go, turns into NaN."""
    poisoned = [0]

    class Poison(Watched):
        def __init__(self, inner: Memory) -> None:
            super().__init__(inner)
            self.seen: dict[tuple[int, Place], Entries] = {}

        def see(self, latents: Tensor, at: At) -> None:
            super().see(latents, at)
            latents.fill_(torch.nan)

        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            super().remember(layer, entries, query, at)
            entries.map(lambda x: x.fill_(torch.nan))
            held = held_in(self.inner, layer)
            kept_on = [x for kept in held.values() for x in kept.stored]
            # What is archived may be read at any time.
            alive = {x.data_ptr() for x in (*kept_on, *self.inner.archived().values())}
            for key in [key for key in self.seen if key[0] == layer and key[1] not in held]:
                for x in self.seen.pop(key).stored:
                    if x.data_ptr() not in alive and takes_nan(x):
                        x.fill_(torch.nan)
                        poisoned[0] += 1
            self.seen |= {(layer, place): kept for place, kept in held.items()}

    switches = bench.switches(bench.chunks // 2, bench.chunks - 2)
    clean, disturbed = bench.latents(switches=switches), bench.latents(switches=switches, watch=Poison)
    _same(disturbed, clean, "what was lent or let go is still read (aliased)")
    return f"every lent tensor and {poisoned[0]} evicted ones poisoned with NaN"


def kept_is_read(bench: Workbench) -> str:
    """Every frame that a layer holds matters: to the next chunk, or to one soon after, prompt switches included.

    A frame that chunks only choose from matters if the choice looks at it, which NaN shows. Entries that are held for
    some heads are tried head by head, and may not be shown to other heads.
    """
    *_, last = bench.roll()
    state, further = last.state(), bench.chunks + 1
    switches = bench.switches(*range(further, bench.chunks + TURNS))
    tries = [
        (further, NUDGE, ()),
        (further, torch.nan, ()),
        (bench.chunks + TURNS, NUDGE, ()),
        (bench.chunks + TURNS, NUDGE, switches),
    ]

    @cache
    def clean(switched: bool) -> list[Tensor]:
        return bench.latents(bench.chunks + TURNS, resume=state, switches=switches if switched else ())

    held: set[tuple[int, Place, int]] = set()

    class Nudge(Watched):
        here: tuple[int, Place, int] | None = None
        by = NUDGE
        head: int | None = None

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            super().load_state_dict(state)
            for layer, (place, kept) in all_held(self.inner, bench.layers):
                # What is held for all heads is tried at once.
                tried = [-1] if place.part < 0 else range(len(kept.stored[0]))
                held.update((layer, place, row) for row in tried)
                if self.here is not None and self.here[:2] == (layer, place):
                    self.head = None if self.here[2] < 0 else self.number(*self.here)
                    rows = slice(None) if self.here[2] < 0 else slice(self.here[2], self.here[2] + 1)
                    # Codes of packed frames are left as they are, and their scales are disturbed.
                    for x in filter(takes_nan, kept.stored):
                        x[rows].add_(self.by)

        def number(self, layer: int, place: Place, row: int) -> int:
            return self.inner.held_by_heads(layer)[place.part].heads.numbers[row]

        def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
            context = super().recall(layer, query, at)
            first = at.pass_index == 0 and at.start == bench.chunks * bench.chunk
            if first and self.here is not None and self.head is not None and layer == self.here[0]:
                others = heads_with_nan(context) - {self.head} if isinstance(context, GroupedContext) else set()
                if others:
                    raise BrokenError(
                        f"frame {self.here[1].frame}, held for head {self.head} of layer {layer}, is shown to head "
                        f"{min(others)}"
                    )
            return context

    bench.latents(further, resume=state, watch=Nudge)
    waits = 0
    for here in sorted(held):
        if here[2] >= 0:
            bench.latents(further, resume=state, watch=type("", (Nudge,), {"here": here, "by": torch.nan}))
        for number, (chunks, by, turns) in enumerate(tries):
            watch = type("", (Nudge,), {"here": here, "by": by})
            disturbed = bench.latents(chunks, resume=state, watch=watch, switches=turns)
            if not all(map(torch.equal, disturbed, clean(bool(turns)))):
                waits += number > 0
                break
        else:
            layer, place, row = here
            of = "" if row < 0 else f" by head {row} of those that it is held for"
            raise BrokenError(
                f"frame {place.frame}, held after {bench.chunks} chunks, is never read in layer {layer}{of}"
            )
    if not held:
        raise NotApplicableError("holds no whole frames")
    later = f", {waits} of them only looked at or read later" if waits else ""
    by_head = ", head by head and by no other head" if any(row >= 0 for *_, row in held) else ""
    return f"each of {len(held)} frames of {bench.layers} layers{by_head}{later}"


def share_nothing(bench: Workbench) -> str:
    """Two rollouts of one strategy object do not disturb each other."""
    alone = [bench.latents(noise=bench.noise(seed)) for seed in (1, 2)]
    together: list[list[Tensor]] = [[], []]
    for pair in zip(*(bench.roll(noise=bench.noise(seed)) for seed in (1, 2)), strict=True):
        for latents, chunk in zip(together, pair, strict=True):
            latents.append(chunk.latents)
            chunk.state()  # commits now, so that the other one's commit lies between this one and its next chunk
    for ours, theirs in zip(together, alone, strict=True):
        _same(ours, theirs, "a rollout changes when another one runs between its chunks")
    return f"two rollouts in turns, {bench.chunks} chunks"


def positions_in_range(bench: Workbench) -> str:
    """Temporal ids stay below the limit that the strategy claims."""
    limit = bench.strategy.position_limit(bench.spec())
    if limit is None:
        raise NotApplicableError("temporal ids grow with the video, as declared")
    highest = [0.0]

    class Watch(Watched):
        def recall(self, layer: int, query: Tensor | None, at: At) -> Context | GroupedContext:
            context = super().recall(layer, query, at)
            times = torch.cat([times_of(piece) for piece in pieces_of(context)])
            start = torch.as_tensor(context.start)
            here = max([*times.tolist(), *(start + at.frames - 1).flatten().tolist()])
            if not here < limit:
                raise BrokenError(
                    f"frame {at.start}, layer {layer}: temporal id {here:g}, and the claim is below {limit}"
                )
            lowest = min([*times.tolist(), *start.flatten().tolist()])
            if not lowest >= 0:
                raise BrokenError(f"frame {at.start}, layer {layer}: temporal id {lowest:g} is below 0")
            highest[0] = max(highest[0], here)
            return context

    chunks = bench.chunks + LONG_CHUNKS
    bench.latents(chunks, watch=Watch, switches=bench.switches(chunks // 3, chunks // 2, chunks - 3))
    return f"highest id {highest[0]:g} of {limit - 1} over {chunks} chunks and three switches"


def defined_at_switch(bench: Workbench) -> str:
    """At a prompt switch, early or late, of any kind: finite, and different from no switch."""
    plain = bench.latents()
    for number, kind in itertools.product((1, bench.chunks - 2), get_args(Boundary)):
        where = f"{kind} switch at chunk {number}"
        switched = bench.latents(switches=[EncodedCue(number * bench.chunk, bench.prompt(7), kind)])
        for late, latents in enumerate(switched):
            if not latents.isfinite().all():
                raise BrokenError(f"{where}: chunk {late} is not finite")
        if torch.equal(switched[number], plain[number]):
            raise BrokenError(f"{where}: the first chunk of the new prompt is the same as without a switch")
    return "smooth, hardcut and recall, while filling and when full"


def same_seed(bench: Workbench) -> str:
    """Same seed, same bits; another seed, another video."""
    first = bench.latents()
    _same(bench.latents(), first, "two runs with one seed")
    if torch.equal(bench.latents(noise=bench.noise(3))[0], first[0]):
        raise BrokenError("another seed gives the same first chunk")
    return f"{bench.chunks} chunks"


def resume_anywhere(bench: Workbench) -> str:
    """Stopped after any chunk (some, of many), saved, loaded and gone on: same bits, prompt switches included."""
    switches = bench.switches(1, bench.chunks // 2, bench.chunks - 1)
    whole = bench.latents(switches=switches)
    stops = range(0, bench.chunks, -(-bench.chunks // RESUMED))
    for number, chunk in enumerate(bench.roll(switches=switches)):
        if number not in stops:
            continue
        file = io.BytesIO()
        torch.save(chunk.state(), file)
        file.seek(0)
        rest = bench.latents(switches=switches, resume=torch.load(file, weights_only=True))
        if len(rest) != len(whole) - number - 1:
            raise BrokenError(f"resumed after chunk {number}: {len(rest)} chunks instead of {len(whole) - number - 1}")
        _same(rest, whole[number + 1 :], f"resumed after chunk {number} (counted from there)")
    return f"after {len(stops)} of {bench.chunks} chunks, with three switches"


def batch_of_two(bench: Workbench) -> str:
    """A batch is its rows."""
    at = (1, bench.chunks - 2)
    both = bench.latents(seeds=(4, 5), switches=bench.switches(*at, rows=2))
    for row, seed in enumerate((4, 5)):
        alone = bench.latents(seeds=(seed,), switches=bench.switches(*at))
        _same([latents[row : row + 1] for latents in both], alone, f"row {row} of a batch of two", TOLERANCE)
    return f"two rows, {bench.chunks} chunks, two switches, within {TOLERANCE:.0e}"
