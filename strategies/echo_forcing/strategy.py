"""The knobs of Echo-Forcing; the docstring of the package explains how they work together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le

from harness.backbone.layout import DenseLayout
from harness.errors import KnobError
from harness.memory import Boundary, Memory, MemorySpec, Strategy, at_least_float32
from harness.memory.budget import Part, apportion
from strategies.echo_forcing.compression import Amplitude, Fusion, Gate, Scoring
from strategies.echo_forcing.memory import CompressedRope, SceneMemory
from strategies.echo_forcing.pool import Known, Pool
from strategies.echo_forcing.scenes import Matching, RecallFrame
from strategies.echo_forcing.slots import Slots
from strategies.echo_forcing.transition import Source, Transition

Count = Annotated[int, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Rates = tuple[Share, Share]


@dataclass(frozen=True, kw_only=True)
class EchoForcing(Strategy):
    """Anchors, compressed history and recent frames within a scene; recall frames, decay and jumps between scenes.

    Lengths in latent frames. The window is anchors + compressed + recent + chunk.

    hierarchy: false for a plain window of the same size behind `sink` frames (the scene memory stays).
    anchors, compressed, recent: frames of each part. rolling_cycle: chunks of first frames that anchors roll over.
    gate, sharpness, amplitude, fusion: terms of the phase score (sum: mean over heads and offsets; max: largest).
    max_reuse: how often a token may be chosen; none for no limit. history: frames to choose from, at least a window.
    compressed_rope: positions of chosen tokens: the slot, time only, or slot time with their original row and column.
    recall_frame, base_weight, stride, candidates: a recall frame is made of every `stride`-th of the scene's first
        `candidates` frames; `base_weight` is the share of the very first.
    smooth_*, hardcut_*, recall_*: parameters of each kind of boundary.
        source: the carried frame: a recall frame ("compress"), the scene's first frame ("select"), the first frame of
        the old window ("resink"), or nothing; at a smooth switch from the first scene since the last other switch, at a
        hard cut from the previous scene, at a recall from the best matching scene. weight: initial weight of carried
        entries. decay: (fast, slow) factors a chunk by difference; equal ones are fixed, (1, 1) is none. drop_after:
        chunks until carried frames are dropped, at the latest when the window is full; 0 for never. jump: temporal ids
        by which the first chunk is moved ahead; at a recall between recall_jump_min and recall_jump_max, larger for
        less similar scenes.
    old_recent: last frames of the old scene that are carried too, at a smooth switch.
    matching: how a recall finds its scene: by words through the text encoder, or by tf-idf. known: the prompts that
        decide which words are common. recalls: scenes to recall by number from 1, in order, instead of matching.
    pool: largest number of remembered scenes.
    """

    paper = "https://arxiv.org/abs/2605.16003"
    reads_query = True

    hierarchy: bool = True
    sink: Count = 1
    anchors: Count = 12
    rolling_cycle: Count = 4
    compressed: Count = 3
    recent: Count = 3
    gate: Gate = "released"
    sharpness: Annotated[float, Ge(0)] = 3.0
    amplitude: Amplitude = "released"
    fusion: Fusion = "sum"
    max_reuse: Annotated[int, Ge(1), Le(255)] | None = 8
    history: Annotated[int, Ge(1)] = 21
    compressed_rope: CompressedRope = "slot"
    recall_frame: RecallFrame = "score_weighted"
    base_weight: Share = 0.9
    stride: Annotated[int, Ge(1)] = 4
    candidates: Annotated[int, Ge(1)] = 12
    smooth_source: Source = "compress"
    smooth_weight: Annotated[float, Gt(0)] = 1.0
    smooth_decay: Rates = (0.80, 0.95)
    smooth_drop_after: Count = 5
    smooth_jump: Count = 0
    old_recent: Count = 2
    hardcut_source: Source = "compress"
    hardcut_weight: Annotated[float, Gt(0)] = 0.8
    hardcut_decay: Rates = (1.0, 1.0)
    hardcut_drop_after: Count = 1
    hardcut_jump: Count = 45
    recall_source: Literal["compress", "select", "nothing"] = "compress"
    recall_weight: Annotated[float, Gt(0)] = 1.0
    recall_decay: Rates = (0.55, 0.90)
    recall_drop_after: Count = 5
    recall_jump_min: Count = 0
    recall_jump_max: Count = 6
    matching: Matching = "similar"
    known: Known = "script"
    recalls: tuple[Annotated[int, Ge(1)], ...] = ()
    pool: Annotated[int, Ge(1)] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind in ("smooth", "hardcut", "recall"):
            fast, slow = self.transition(kind).decay
            if fast > slow:
                raise KnobError(f"EchoForcing: {kind}_decay = ({fast:g}, {slow:g}); give the smaller factor first")
        if self.recall_jump_min > self.recall_jump_max:
            raise KnobError(
                f"EchoForcing: recall_jump_min {self.recall_jump_min} is above recall_jump_max {self.recall_jump_max}; "
                "lower it"
            )

    def window(self, spec: MemorySpec) -> int:
        """Latent frames in all, the chunk included."""
        return self.anchors + self.compressed + self.recent + spec.chunk

    def transition(self, kind: Boundary) -> Transition:
        """Return the parameters of a kind of boundary."""
        jump = (self.recall_jump_min, self.recall_jump_max)
        if kind != "recall":
            jump = (getattr(self, f"{kind}_jump"),) * 2
        return Transition(
            source=getattr(self, f"{kind}_source"),
            old_recent=self.old_recent if kind == "smooth" else 0,
            weight=getattr(self, f"{kind}_weight"),
            decay=getattr(self, f"{kind}_decay"),
            drop_after=getattr(self, f"{kind}_drop_after"),
            jump=jump,
        )

    @property
    def transitions(self) -> Iterator[Transition]:
        """Parameters of all kinds of boundaries."""
        return (self.transition(kind) for kind in ("smooth", "hardcut", "recall"))

    def slots(self, spec: MemorySpec) -> Slots:
        """Return the roles of the window's frames, empty."""
        window, sources = self.window(spec), {each.source for each in self.transitions}
        keepsakes = {0} if "select" in sources else set()
        if "compress" in sources:
            keepsakes |= set(range(0, self.candidates, self.stride))
        return Slots(
            window=window,
            chunk=spec.chunk,
            anchors_room=self.anchors if self.hierarchy else self.sink,
            compressed_room=self.compressed if self.hierarchy else 0,
            period=self.rolling_cycle * spec.chunk if self.hierarchy and self.anchors else 0,
            history_room=max(self.history, window),
            keepsakes=tuple(sorted(keepsakes)),
            keeps_head="resink" in sources,
        )

    def open(self, spec: MemorySpec) -> Memory:
        self._check(spec)
        slots = self.slots(spec)
        scoring = Scoring(
            ahead=slots.window.bit_length(),
            gate=self.gate,
            sharpness=self.sharpness,
            amplitude=self.amplitude,
            fusion=self.fusion,
        )
        return SceneMemory(
            spec,
            slots,
            Pool(self.pool, self.matching, self.known, self.recalls),
            scoring,
            {kind: self.transition(kind) for kind in get_args(Boundary)},
            recent=self.recent,
            max_reuse=self.max_reuse,
            compressed_rope=self.compressed_rope,
            recall_frame=self.recall_frame,
            base_weight=self.base_weight,
            stride=self.stride,
        )

    def _check(self, spec: MemorySpec) -> None:
        window, chunk = self.window(spec), spec.chunk
        if not isinstance(spec.layout, DenseLayout):
            raise KnobError(
                "echo_forcing compares whole keys and turns them by time, which a latent cache does not hold; "
                "choose another policy for that layout"
            )
        if 0 < self.anchors < chunk:
            raise KnobError(
                f"echo_forcing: {self.anchors} anchors are fewer than a chunk of {chunk}; use 0, or {chunk} or more"
            )
        if self.recent < chunk:
            raise KnobError(
                f"echo_forcing: recent {self.recent} is less than a chunk of {chunk} latent frames; raise it"
            )
        if self.hierarchy and self.rolling_cycle * chunk > window - chunk:
            raise KnobError(
                f"echo_forcing: rolling_cycle {self.rolling_cycle} is {self.rolling_cycle * chunk} latent frames, and "
                f"a scene's first window holds {window - chunk}; lower it to {(window - chunk) // chunk}"
            )
        if not self.hierarchy and self.sink > window - chunk:
            raise KnobError(
                f"echo_forcing: sink {self.sink} leaves no room for a chunk in a window of {window}; "
                f"lower it to at most {window - chunk}"
            )
        behind = window - chunk - self.sink
        if not self.hierarchy and self.old_recent > behind:
            raise KnobError(
                f"echo_forcing: old_recent {self.old_recent} is more than the {behind} latent frames behind sink "
                f"{self.sink} that are there at a switch; lower one of them"
            )
        if self.old_recent > self.recent:
            raise KnobError(
                f"echo_forcing: old_recent {self.old_recent} is more than the {self.recent} recent latent frames that "
                "are there at a switch; lower it"
            )

    def resized(self, spec: MemorySpec, frames: int) -> EchoForcing:
        chunk, whole = spec.chunk, self.anchors + self.compressed + self.recent
        # Anchors roll one chunk at a time, so their number changes in steps of a chunk.
        fewest = chunk + (self.anchors - chunk) % chunk if self.anchors else 0
        parts = {
            "anchors": Part(self.anchors, least=fewest, step=chunk, most=None if self.anchors else 0),
            "compressed": Part(self.compressed, least=min(1, self.compressed), most=None if self.compressed else 0),
            "recent": Part(self.recent, least=chunk),
        }
        sizes = apportion(frames, parts)
        given: dict[str, Any] = {**sizes}
        cached = sum(sizes.values())
        sink = min(self.sink, -(-self.sink * cached // whole))
        # Representatives of a scene are chosen from its first frames, so they scale with the anchors where these roll.
        rolls = self.hierarchy and self.anchors
        firsts = Fraction(sizes["anchors"], self.anchors) if rolls else Fraction(cached, whole)

        def scaled(size: int, share: Fraction) -> int:
            return max(1, round(size * share))

        return replace(
            self,
            **given,
            sink=self.sink if self.hierarchy else sink,
            rolling_cycle=min(self.rolling_cycle and scaled(self.rolling_cycle, firsts), cached // chunk),
            history=scaled(self.history, Fraction(cached + chunk, whole + chunk)),
            candidates=scaled(self.candidates, firsts),
            stride=scaled(self.stride, firsts),
            old_recent=min(self.old_recent, sizes["recent"]),
            pool=scaled(self.pool, Fraction(cached, whole)),
        )

    @property
    def kept_sink(self) -> int:
        """0: a sink lasts for a scene only."""
        return 0

    def position_limit(self, spec: MemorySpec) -> int | None:
        jumps = [each.carried + each.jump[1] + spec.chunk for each in self.transitions]
        return max(self.window(spec), *jumps)

    def footprint(self, spec: MemorySpec, frames: int) -> int:
        slots = self.slots(spec)
        # After the anchors went back and forth once, the roles repeat.
        cycle = 2 * max(slots.period, spec.chunk)
        settled = slots.window + slots.history_room + 2 * cycle
        slots.enter(0, ())
        upto = frames if frames <= settled else settled + (frames - settled) % cycle
        for start in range(0, upto, spec.chunk):
            slots.append(start, spec.chunk)
            slots.make_room()
        tokens = len(slots.live) * spec.frame_tokens
        wide = at_least_float32(spec.dtype).itemsize
        channels = spec.layout.shapes[0][0] * spec.layout.shapes[0][1]
        rows = spec.layers * spec.batch
        sums = 0
        if self.compressed and self.hierarchy:
            tokens += slots.compressed_room * spec.frame_tokens * slots.rolled
            sums += channels + channels // 2
        if any(each.source == "compress" for each in self.transitions):
            sums += channels
        uses = len(slots.history) * spec.frame_tokens if self.max_reuse is not None else 0
        places = 0
        if self.compressed_rope == "original" and slots.rolled:
            places = 8 * slots.compressed_room * spec.frame_tokens
        return spec.bytes(tokens) + rows * (sums * wide + uses + places)

    def scene_bytes(self, spec: MemorySpec) -> int:
        return spec.bytes(spec.frame_tokens) * len({each.source for each in self.transitions} & {"compress", "select"})
