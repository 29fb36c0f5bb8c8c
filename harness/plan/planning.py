"""The plan of a strategy: bytes, operations, and the least time that a device needs for them.

The rollout's own code runs at full size on the device "meta", where tensors have shapes and no contents. Therefore a
plan covers exactly the code that will run, including layers and updates of plug-ins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import HorizonError, ShapeError
from harness.measure.counting import Work, counted, sketched
from harness.memory import Strategy
from harness.plan.device import Device
from harness.rollout import rollout
from harness.rollout.request import laid_out_bytes

STEADY_CHUNKS = 6
"""Chunks after the memory is full before the chunk that is counted."""
LINEAR_CHUNKS = 12
"""Chunks of the longest video that is run for an unbounded memory."""


@dataclass(frozen=True)
class Bound:
    """The least time of a chunk on a device.

    Every matrix product and attention call takes at least the time of its operations at the device's peak or of its
    bytes at the device's bandwidth, whichever is longer, and the calls run one after the other. Real kernels reach 40
    to 80 % of that.

    Parameters
    ----------
    chunk_seconds
        Seconds of a chunk.
    binding
        The limit that takes most of the time, "compute" or "bandwidth".
    share
        Its share of the time, from 0.5 to 1.
    """

    chunk_seconds: float
    binding: str
    share: float


@dataclass(frozen=True)
class Plan:
    """The plan of one strategy at one horizon, for a batch of one.

    Parameters
    ----------
    latent_frames
        The horizon, in latent frames.
    chunk, pictures, passes
        Latent frames, pixel frames and passes of a chunk, the commit pass included.
    weights_bytes
        Bytes of the model.
    cache_bytes, cache_bytes_per_token
        Bytes held between chunks at the horizon, and bytes of one token in all layers.
    archive_bytes
        Bytes archived in host memory by then; they are no part of the peak on the device.
    laid_out_bytes, shared_bytes
        Bytes of the laid-out contexts, in addition to the cache; the same with layout="pass".
    activation_bytes
        Further bytes while a chunk is generated.
    work
        The operations of a whole chunk.
    """

    strategy: Strategy
    latent_frames: int
    chunk: int
    passes: int
    weights_bytes: int
    cache_bytes: int
    archive_bytes: int
    cache_bytes_per_token: int
    laid_out_bytes: int
    shared_bytes: int
    activation_bytes: int
    pictures: int
    work: Sequence[Work] = field(repr=False)

    @property
    def peak_bytes(self) -> int:
        """Most bytes in memory at the same time, the weights included."""
        return self.weights_bytes + self.cache_bytes + self.laid_out_bytes + self.activation_bytes

    @property
    def flops_per_chunk(self) -> int:
        return sum(each.flops for each in self.work)

    @property
    def bytes_per_chunk(self) -> int:
        """Bytes that matrix products and attention must move at least once in a chunk."""
        return sum(each.bytes for each in self.work)

    def bound(self, device: Device) -> Bound:
        """Return the least time by the device's roofline (Williams et al., 2009), summed over the calls of a chunk."""
        compute = [each.flops / device.flops for each in self.work]
        moving = [each.bytes / device.bandwidth for each in self.work]
        seconds = sum(map(max, compute, moving))
        computing = sum(c for c, m in zip(compute, moving, strict=True) if c >= m)
        side = "compute" if computing >= seconds / 2 else "bandwidth"
        return Bound(seconds, side, max(computing, seconds - computing) / seconds)

    def frames_per_second(self, chunk_seconds: float) -> float:
        """Return pixel frames per second, without decoding, for a chunk that takes `chunk_seconds`."""
        return self.pictures / chunk_seconds


def plan(strategy: Strategy, backbone: Backbone, latent_size: tuple[int, int], latent_frames: int) -> Plan:
    """Return the plan of a strategy for the last chunk of a video.

    The cost of a bounded memory is constant once it is full, so that longer videos need not be run. The cost of an
    unbounded memory is linear in its context: beyond `LINEAR_CHUNKS` it is extrapolated from two shorter videos.

    Parameters
    ----------
    strategy
        The strategy.
    backbone
        A backbone on the device "meta".
    latent_size
        Height and width of a latent frame.
    latent_frames
        Latent frames of the video: at least two whole chunks.

    Raises
    ------
    HorizonError
        The backbone is not on "meta". Also the errors of `rollout`.
    """
    if backbone.model.device.type != "meta":
        raise HorizonError("a plan is made on shapes only; give a backbone on the device meta")
    chunk = backbone.chunk
    if latent_frames < 2 * chunk or latent_frames % chunk:
        raise ShapeError(f"a plan for {latent_frames} latent frames; needed: whole chunks of {chunk}, two at least")
    adapted = strategy.adapt(backbone)
    spec = adapted.memory_spec(latent_size=latent_size)
    capacity = strategy.open(spec).capacity
    full = chunk * (LINEAR_CHUNKS if capacity is None else -(-capacity // chunk) + STEADY_CHUNKS)
    period = strategy.period(spec)
    work, activations = _chunk(strategy, backbone, latent_size, min(latent_frames, full), period)
    if capacity is None and latent_frames > full:
        short = _chunk(strategy, backbone, latent_size, full - chunk)
        longer, steps = (work, activations), latent_frames // chunk - LINEAR_CHUNKS + 1
        work = [
            Work(a.name, a.flops + steps * (b.flops - a.flops), a.bytes + steps * (b.bytes - a.bytes))
            for a, b in zip(short[0], longer[0], strict=True)
        ]
        activations = short[1] + steps * (longer[1] - short[1])
    # What was archived while the last chunk was counted is on the host.
    before, after = (strategy.archive_bytes(spec, min(latent_frames, full) - each * chunk) for each in (2, 1))
    activations = max(0, activations - (after - before))
    laid_out = laid_out_bytes(spec, latent_frames, capacity)
    return Plan(
        strategy=strategy,
        latent_frames=latent_frames,
        chunk=chunk,
        passes=len(backbone.sampler.sigmas) + 1,
        weights_bytes=sum(x.nbytes for x in adapted.model.parameters()),
        cache_bytes=strategy.footprint(spec, latent_frames - chunk),
        archive_bytes=strategy.archive_bytes(spec, latent_frames - chunk),
        cache_bytes_per_token=strategy.cached(spec).bytes(spec.frame_tokens) // spec.frame_tokens,
        laid_out_bytes=laid_out,
        shared_bytes=laid_out // spec.layers,
        activation_bytes=activations,
        pictures=chunk * backbone.pictures_per_latent,
        work=work,
    )


def _chunk(
    strategy: Strategy, backbone: Backbone, latent_size: tuple[int, int], latent_frames: int, period: int = 1
) -> tuple[list[Work], int]:
    """Return the work of the last chunk of a video, its commit pass included, and the peak of its allocated bytes.

    Parameters
    ----------
    strategy, backbone, latent_size, latent_frames
        The rollout.
    period
        Chunks over which the work is averaged, for a memory whose size repeats; fewer in a shorter video.
    """
    config, chunk, dtype = backbone.model.config, backbone.chunk, backbone.model.dtype
    # All but the last chunks are given frames, since commit passes alone fill the memory.
    period = min(period, latent_frames // chunk - 1)
    given = latent_frames - (period + 1) * chunk
    chunks = rollout(
        backbone,
        strategy,
        prompts=torch.zeros(1, config.text_len, config.text_dim),
        latent_frames=latent_frames,
        latent_size=latent_size,
        noise=_Nothing(dtype),
        initial=torch.zeros(1, given, config.in_dim, *latent_size, dtype=dtype) if given else None,
    )
    with sketched():
        next(chunks)
    with counted() as count:
        for _ in range(period):
            next(chunks)
    work = count.work
    if period > 1:
        work = [Work(each.name, each.flops // period, each.bytes // period) for each in work]
    return work, count.peak_bytes


@dataclass(frozen=True)
class _Nothing:
    """Noise without contents."""

    dtype: torch.dtype

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device="meta")

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return self.initial(chunk, shape)
