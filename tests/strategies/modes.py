"""The modes of every strategy that are compared with the oracle, and how the knobs left open by a mode are drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from tests.heads import classes_file


@dataclasses.dataclass(frozen=True)
class Mode:
    """One way to use a strategy; the knobs not fixed here are drawn.

    switches, most_switches: fewest and most prompt switches. chunks: most chunks. layers: most layers. dtypes: of the
    model. pinned: whether recent frames are pinned below a temporal id, which is drawn.
    """

    strategy: str
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    switches: int = 0
    most_switches: int = 2
    chunks: int = 10
    layers: int = 2
    dtypes: tuple[str, ...] = ("float32", "float64")
    pinned: bool = False

    def __str__(self) -> str:
        return "-".join([self.strategy, *map(str, self.fixed.values()), *["pinned"] * self.pinned])

    def made(self, knobs: dict[str, Any]) -> dict[str, Any]:
        """Knobs as the strategy itself takes them."""
        if self.strategy == "echo_infinity":
            return knobs | {"parameters": "untrained"}
        if self.strategy == "forcing_kv":
            return {name: value for name, value in knobs.items() if name != "static"} | {
                "classes": drawn_file(knobs["static"])
            }
        if self.strategy not in OUTER:
            return knobs
        outer = {name: knobs[name] for name in OUTER[self.strategy] if name in knobs}
        inner = {name: value for name, value in knobs.items() if name not in ("policy", *outer)}
        text = ",".join(f"{name}={'none' if value is None else value}" for name, value in inner.items())
        policy = f"[{knobs['policy']}.{text}]" if inner else knobs["policy"]
        return {"policy": policy, **outer} | ({"parameters": "random"} if self.strategy == "videomla" else {})


def drawn_file(static: tuple[tuple[bool, ...], ...]) -> str:
    """Write the head classes that were drawn, and return the file."""
    return classes_file([[head for head, found in enumerate(layer) if found] for layer in static], len(static[0]))


OUTER = {
    "videomla": ("latent", "query_latent", "rope", "latent_norm"),
    "quantized": ("store", "exact_sink", "exact_recent"),
}
"""Knobs of strategies that have a policy; all others are the policy's."""
SWITCHING = [("keep", 0), ("flush", 1), ("recache", 1), ("recache_all", 1)]
POSITIONS = ("absolute", "relative")
WINDOWS = [
    Mode("full"),
    *(
        Mode(name, {"positions": positions, "on_switch": on_switch}, switches)
        for name in ("sliding_window", "attention_sink")
        for positions in POSITIONS
        for on_switch, switches in SWITCHING
    ),
    *(Mode("attention_sink", {"on_switch": on_switch}, switches, pinned=True) for on_switch, switches in SWITCHING),
    Mode("infinity_rope", {"pinned_at": None}, 1),
    Mode("infinity_rope", {}, 1),
    *(Mode("rolling_sink", {"positions": positions}, chunks=14) for positions in POSITIONS),
    Mode("ema_sink"),
    *(
        Mode("memrope", {"pooling": pooling, "init": init})
        for pooling in ("chunk", "position", "adaptive")
        for init in ("released", "paper")
    ),
]
QUERIES = [
    Mode("echo_infinity", {"positions": positions, "on_switch": on_switch}, switches, layers=3)
    for positions in POSITIONS
    for on_switch, switches in SWITCHING
]
# In float32 two tokens may be scored so nearly alike that rounding decides which is chosen.
SCENES = [
    Mode("echo_forcing", {"hierarchy": hierarchy, "compressed_rope": rope}, switches, most, 16, dtypes=("float64",))
    for hierarchy, rope, switches, most in (
        (True, "slot", 0, 0),
        (True, "slot", 1, 4),
        (True, "time", 0, 3),
        (True, "original", 0, 3),
        (False, "slot", 1, 4),
    )
]
DEEP = [
    *(
        Mode("deep_forcing", {"fusion": fusion, "positions": positions}, chunks=16, dtypes=("float64",))
        for fusion in ("sum", "max")
        for positions in ("released", "contiguous")
    ),
    *(
        Mode("deep_forcing", {"compression": False, "positions": positions}, chunks=12)
        for positions in ("released", "contiguous")
    ),
]
# What is chosen hangs on small differences, as above.
CHOSEN = [
    *(
        Mode("longlive_rag", {"on_switch": on_switch}, switches, chunks=14, dtypes=("float64",))
        for on_switch, switches in (("keep", 0), ("recache", 1), ("recache_all", 1))
    ),
    *(
        Mode("memflow", {"pipeline": pipeline, "sma": sma, "on_switch": on_switch}, 1, chunks=12, dtypes=("float64",))
        for pipeline in ("single", "interactive")
        for sma in (False, True)
        for on_switch in ("recache", "zero_sink", "keep")
    ),
]
HEADS = [
    *(
        Mode("dummy_forcing", {"on_switch": kind}, kind == "recache", layers=3, dtypes=("float64",))
        for kind in ("keep", "recache")
    ),
    *(
        Mode("forcing_kv", {"on_switch": kind, "replayed": replayed}, kind != "keep", layers=3, dtypes=("float64",))
        for kind, replayed in (
            ("keep", "context"),
            ("recache", "context"),
            ("recache", "all"),
            ("recache_all", "context"),
        )
    ),
]
LATENTS = [
    Mode("videomla", {"policy": policy, "evaluation": evaluation}, switches)
    for policy, switches in (
        ("full", 0), ("sliding_window", 0), ("attention_sink", 1), ("infinity_rope", 1), ("memrope", 0)
    )
    for evaluation in ("explicit", "absorbed")
]  # fmt: skip
# In float32 a number may lie so near the middle between two codes that rounding decides.
PACKED = [
    Mode("quantized", {"policy": policy, "store": store}, switches, dtypes=("float64",))
    for policy, switches in (("attention_sink", 1), ("memrope", 0), ("ema_sink", 0))
    for store in ("int8", "int4", "fp8")
]
MODES = [*WINDOWS, *QUERIES, *SCENES, *DEEP, *CHOSEN, *HEADS, *LATENTS, *PACKED]


@st.composite
def knobs(draw: st.DrawFn, mode: Mode, chunk: int, layers: int, dim: int, head: int) -> dict[str, Any]:
    """Knobs that fit: sinks larger than a chunk, and windows it does not divide, included."""
    if mode.strategy == "videomla":
        policy = mode.fixed["policy"]
        drawn = draw(windows(policy, chunk))
        if policy in ("sliding_window", "attention_sink"):
            drawn |= {
                "positions": draw(st.sampled_from(POSITIONS)),
                "on_switch": draw(st.sampled_from([name for name, _ in SWITCHING])),
            }
        if policy == "memrope":
            drawn |= {"pooling": draw(st.sampled_from(["chunk", "position", "adaptive"]))}
            drawn |= {"init": draw(st.sampled_from(["released", "paper"]))}
        sizes = {
            "latent": draw(st.integers(1, dim)),
            "query_latent": draw(st.integers(1, dim)),
            "rope": 2 * draw(st.integers(0, (head - 1) // 2)),
            "latent_norm": draw(st.booleans()),
        }
        return drawn | sizes | {"policy": policy}
    if mode.strategy == "quantized":
        drawn = draw(windows(mode.fixed["policy"], chunk))
        if mode.fixed["policy"] == "attention_sink":
            on_switch = draw(st.sampled_from([name for name, _ in SWITCHING]))
            drawn |= {"positions": draw(st.sampled_from(POSITIONS)), "on_switch": on_switch}
        if mode.fixed["policy"] == "memrope":
            drawn |= {"pooling": draw(st.sampled_from(["chunk", "position"]))}
            drawn |= {"init": draw(st.sampled_from(["released", "paper"]))}
        keeps_sink = mode.fixed["policy"] != "ema_sink" and drawn["sink"] > 0
        exact = {"exact_sink": keeps_sink and draw(st.booleans()), "exact_recent": draw(st.booleans())}
        return drawn | exact | mode.fixed
    if mode.strategy == "echo_infinity":
        return draw(queries(chunk, layers)) | mode.fixed
    if mode.strategy == "echo_forcing":
        return draw(scenes(chunk, mode.fixed["hierarchy"])) | mode.fixed
    if mode.strategy == "deep_forcing":
        return draw(deep(chunk)) | mode.fixed
    if mode.strategy in ("dummy_forcing", "forcing_kv"):
        return draw(by_head(mode.strategy, chunk, layers, dim // head)) | mode.fixed
    drawn = draw(windows(mode.strategy, chunk)) | mode.fixed
    if mode.pinned:
        room = drawn["window"] - drawn["sink"] if drawn["on_switch"].startswith("recache") else chunk
        least = drawn["sink"] + room - 1
        drawn |= {"positions": draw(st.sampled_from(POSITIONS)), "pinned_at": draw(st.integers(least, least + 12))}
    return drawn


@st.composite
def windows(draw: st.DrawFn, strategy: str, chunk: int) -> dict[str, Any]:
    """Knobs of policies that keep whole frames."""
    if strategy == "rolling_sink":
        return {"window": chunk * draw(st.integers(2, 5))}
    if strategy == "ema_sink":
        alpha = draw(st.sampled_from([0.0, 0.5, 0.9, 0.999, 1.0]))
        sink = chunk if chunk > 1 else draw(st.integers(1, 3))
        return {"window": sink + chunk * draw(st.integers(1, 4)), "sink": sink, "alpha": alpha}
    if strategy == "longlive_rag":
        sink, memory, recent = draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(0, 5))
        window = sink + memory + recent + chunk
        return {"window": window, "sink": sink, "memory": memory, "exclude": draw(st.integers(0, 6))}
    if strategy == "memflow":
        sink = draw(st.integers(0, 5))
        return {
            "window": sink + chunk + draw(st.integers(0, 6)),
            "sink": sink,
            "bank": draw(st.integers(1, 4)),
            "interval": draw(st.integers(1, 3)),
            "retake": draw(st.booleans()),
            "switch_query": draw(st.sampled_from(["released", "prompt"])),
        }
    sink = draw(st.sampled_from(range(6)))
    room = draw(st.sampled_from(range(10)))
    if strategy == "sliding_window":
        return {"window": chunk + room}
    if strategy == "attention_sink":
        return {"window": sink + chunk + room, "sink": sink}
    if strategy == "infinity_rope":
        return {
            "window": sink + chunk + room,
            "sink": sink,
            "flush_keep": draw(st.integers(0, 3)),
            "cut": draw(st.sampled_from([0, 45, 2000])),
            "pinned_at": draw(st.none() | st.integers(sink + chunk - 1, 25)),
        }
    if strategy == "memrope":
        long, short = draw(st.sampled_from([(0.01, 0.1), (0.3, None), (None, 0.2), (0.5, 0.15)]))
        memories = (long is not None) + (short is not None)
        return {"window": sink + memories + chunk + room, "sink": sink, "alpha_long": long, "alpha_short": short}
    return {}


@st.composite
def by_head(draw: st.DrawFn, strategy: str, chunk: int, layers: int, heads: int) -> dict[str, Any]:
    """Knobs of strategies whose heads see different frames."""
    if strategy == "dummy_forcing":
        return {
            "dummies": draw(st.none() | st.integers(0, layers * heads)),
            "context": draw(st.integers(1, 4)),
            "start": draw(st.integers(1, 4)),
            "sink": draw(st.integers(1, 3)),
        }
    return {
        "static": tuple(tuple(draw(st.booleans()) for _ in range(heads)) for _ in range(layers)),
        "start": draw(st.integers(0, 3)),
        "sink": draw(st.integers(0, 4)),
        "static_context": draw(st.integers(1, 5)),
        "temporal_context": draw(st.integers(1, chunk)),
        "dynamic_context": draw(st.integers(0, chunk)),
        "patches": draw(st.sampled_from([None, 1])),
    }


@st.composite
def deep(draw: st.DrawFn, chunk: int) -> dict[str, Any]:
    """Knobs of deep_forcing."""
    sink, recent = draw(st.integers(0, 5)), draw(st.integers(chunk, max(6, 2 * chunk)))
    chosen, appended = draw(st.integers(0, 3)), draw(st.integers(0, 5))
    window = -(-(sink + chosen + recent + appended) // chunk) * chunk
    budget = sink + chosen + recent
    new = ((window - budget) // chunk + 1) * chunk
    limits = [None, 1, 2, 7] if chosen <= new else [None]
    max_reuse = draw(st.sampled_from(limits))
    return {"window": window, "sink": sink, "budget": budget, "recent": recent, "max_reuse": max_reuse}


@st.composite
def queries(draw: st.DrawFn, chunk: int, layers: int) -> dict[str, Any]:
    """Knobs of echo_infinity."""
    sink, memory = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    window = sink + chunk + draw(st.integers(0, 7))
    return {
        "window": window,
        "sink": sink,
        "memory": memory,
        "reach": window + memory + draw(st.integers(0, 9)),
        "update": draw(st.sampled_from(["first_pass", "first_pass", "clean", "never"])),
        "groups": draw(st.integers(1, layers)),
        "source": draw(st.sampled_from(["last", "middle", "group"])),
        "encoder_layers": draw(st.integers(1, 2)),
        "gate": draw(st.booleans()),
        "residual": draw(st.sampled_from([False, False, True])),
        "sink_anchor": draw(st.booleans()),
        "normed_keys": draw(st.booleans()),
        "memory_recache": draw(st.booleans()),
    }


@st.composite
def scenes(draw: st.DrawFn, chunk: int, hierarchy: bool) -> dict[str, Any]:
    """Knobs of echo_forcing."""
    anchors = draw(st.sampled_from([0, *range(chunk, chunk + 6)]))
    compressed, recent = draw(st.integers(0, 3)), chunk + draw(st.integers(0, 2))
    past = anchors + compressed + recent
    old_recent = draw(st.integers(0, min(3, recent)))
    rates = st.tuples(st.floats(0.2, 1), st.floats(0.2, 1)).map(lambda pair: tuple(sorted(pair)))
    least = draw(st.integers(0, 4))
    found: dict[str, Any] = {
        "sink": draw(st.integers(0, past - old_recent)),
        "anchors": anchors,
        "rolling_cycle": draw(st.integers(0, min(4, past // chunk))) if hierarchy else 0,
        "compressed": compressed,
        "recent": recent,
        "gate": draw(st.sampled_from(["released", "paper", "off"])),
        "sharpness": draw(st.sampled_from([0.0, 1.0, 3.0])),
        "amplitude": draw(st.sampled_from(["released", "paper", "off"])),
        "fusion": draw(st.sampled_from(["sum", "max"])),
        "max_reuse": draw(st.sampled_from([None, 1, 2, 8])),
        "history": draw(st.integers(1, 20)),
        "recall_frame": draw(st.sampled_from(["score_weighted", "token_select"])),
        "base_weight": draw(st.sampled_from([0.9, 0.0, 0.5, 1.0])),
        "stride": draw(st.integers(1, 4)),
        "candidates": draw(st.integers(1, 12)),
        "old_recent": old_recent,
        "recall_jump_min": least,
        "recall_jump_max": least + draw(st.integers(0, 6)),
        "matching": draw(st.sampled_from(["similar", "idf"])),
        "known": draw(st.sampled_from(["script", "stream"])),
        "recalls": draw(st.sampled_from([(), (), (1,), (1, 2), (1, 1)])),
    }
    found["pool"] = 64 if found["recalls"] else draw(st.sampled_from([1, 2, 64]))
    for kind in ("smooth", "hardcut", "recall"):
        sources = ["compress", "select", "nothing"] + ["resink"] * (kind != "recall")
        found |= {
            f"{kind}_source": draw(st.sampled_from(sources)),
            f"{kind}_weight": draw(st.sampled_from([1.0, 0.8, 1.5])),
            f"{kind}_decay": draw(rates | st.just((1.0, 1.0))),
            f"{kind}_drop_after": draw(st.integers(0, 5)),
        }
        if kind != "recall":
            found[f"{kind}_jump"] = draw(st.sampled_from([0, 5, 45]))
    return found
