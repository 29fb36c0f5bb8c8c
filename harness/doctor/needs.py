"""What each strategy needs on a device, and whether it fits there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness import registry
from harness.backbone.presets import Backbone
from harness.doctor.checks import Check
from harness.errors import HorizonError, why
from harness.rollout.request import laid_out_bytes, most_bytes

GROUP = "strategies"
GB = 1e9
TIGHT = 0.75
"""Share of the free bytes from which what a chunk's passes take on top may be too much. It is not counted here, because
planning it takes long at full size."""


def check_needs(backbone: Backbone, names: Sequence[str], seconds: float, free: int) -> Iterator[Check]:
    """Yield a check for each strategy, for one video at the backbone's size: weights, cache and contexts.

    Parameters
    ----------
    backbone
        The backbone on the device "meta".
    names
        The strategies.
    seconds
        Length of the video. An unbounded memory is given the longest video of the backbone's training if that is
        shorter.
    free
        Free bytes of the device.
    """
    weights = sum(x.nbytes for x in backbone.model.parameters())
    for name in names:
        try:
            yield _need(backbone, name, seconds, free, weights)
        except HorizonError as error:
            advice = f"horizon describe {name} says what it needs"
            yield Check(GROUP, name, "limited", why(error), advice)


def _need(backbone: Backbone, name: str, seconds: float, free: int, weights: int) -> Check:
    strategy, chunk = registry.strategy(name), backbone.chunk
    frames = max(2, round(seconds * backbone.latents_per_second / chunk)) * chunk
    if not strategy.bounded:
        frames = min(frames, max(2, backbone.trained_frames // chunk) * chunk)
    spec = strategy.adapt(backbone).memory_spec()
    capacity = strategy.open(spec).capacity
    cache, contexts = most_bytes(strategy, spec, frames, capacity), laid_out_bytes(spec, frames, capacity)
    parts = {"weights": weights, "cache": cache, "contexts": contexts}
    needed = sum(parts.values())
    length = frames / backbone.latents_per_second
    found = f"{_size(needed)} for {length:,.0f} s of {_size(free)} free"
    fits = needed <= free
    advice = ""
    if not fits:
        advice = f"{name} does not fit: a smaller size, a smaller window, or a device with more than {_size(needed)}"
    elif needed > TIGHT * free:
        advice = f"{name} may not fit: horizon plan --strategy {name} says what the passes of a chunk take on top"
    facts = {"latent_frames": frames, "fits": fits, "needed_bytes": needed, "bytes": parts}
    return Check(GROUP, name, "limited" if advice else "ok", found, advice, facts)


def _size(size: int) -> str:
    return f"{size / GB:,.2f} GB" if size >= GB / 10 else f"{size / 1e6:,.1f} MB"
