"""What a strategy takes on paper: bytes, operations, and the least time that a device needs for them.

The rollout's own code runs at full size on the device "meta", where tensors have shapes and no contents, so that a plan
is of what will run, a third party's layers and updates included.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import psutil
import torch
from torch import Tensor

from harness.backbone.presets import Backbone
from harness.errors import HorizonError, ShapeError
from harness.measure.counting import Work, counted, sketched
from harness.memory import Strategy
from harness.rollout import rollout
from harness.rollout.request import laid_out_bytes

STEADY_CHUNKS = 6
"""Chunks beyond a full memory after which the next one is counted."""
LINEAR_CHUNKS = 12
"""Chunks of the longest video that is counted for a memory that grows."""


@dataclass(frozen=True)
class Device:
    """What bounds a device: operations a second at the plan's precision without sparsity, and bytes a second and in all
    of its memory."""

    name: str
    flops: float
    bandwidth: float
    memory: float


DEVICES = {
    device.name: device
    for device in (
        Device("H100", 989e12, 3.35e12, 80e9),
        Device("H200", 989e12, 4.8e12, 141e9),
        Device("B200", 2250e12, 8.0e12, 180e9),
        Device("A100", 312e12, 2.04e12, 80e9),
        Device("A6000", 154.8e12, 0.768e12, 48e9),
        Device("4090", 165.2e12, 1.008e12, 24e9),
    )
}
"""bfloat16 with float32 accumulation, dense; SXM modules where there are several. From the makers' data sheets."""
HERE = "here"
"""This machine, measured."""


@dataclass(frozen=True)
class Bound:
    """The least time of a chunk. binding: what takes most of it, "compute" or "bandwidth", with its share of the time.

    Every product and attention call takes at least its operations at the device's peak, or its bytes at its bandwidth,
    whichever is longer, and they run one after the other. Real kernels reach 40 to 80 % of that.
    """

    chunk_seconds: float
    binding: str
    share: float


@dataclass(frozen=True)
class Plan:
    """One strategy at one horizon, a batch of one.

    weights_bytes: of the model. cache_bytes: held between chunks at the horizon. archive_bytes: put away in the host's
    memory by then, and not part of the peak on the device. cache_bytes_per_token: in all layers.
    laid_out_bytes: of the contexts ready to attend to, beside it; shared_bytes: of these with layout="pass".
    activation_bytes: what comes on top while a chunk is made. work: of a whole chunk. passes, pictures (pixel frames):
    of a chunk.
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
        """The most that is alive at once, all in all."""
        return self.weights_bytes + self.cache_bytes + self.laid_out_bytes + self.activation_bytes

    @property
    def flops_per_chunk(self) -> int:
        return sum(each.flops for each in self.work)

    @property
    def bytes_per_chunk(self) -> int:
        """That products and attention must move at least once."""
        return sum(each.bytes for each in self.work)

    def bound(self, device: Device) -> Bound:
        """What the device's roofline allows (Williams et al., 2009), summed over the calls of a chunk."""
        compute = [each.flops / device.flops for each in self.work]
        moving = [each.bytes / device.bandwidth for each in self.work]
        seconds = sum(map(max, compute, moving))
        computing = sum(c for c, m in zip(compute, moving, strict=True) if c >= m)
        side = "compute" if computing >= seconds / 2 else "bandwidth"
        return Bound(seconds, side, max(computing, seconds - computing) / seconds)

    def frames_per_second(self, chunk_seconds: float) -> float:
        """Pixel frames a second at so many seconds a chunk, without decoding them."""
        return self.pictures / chunk_seconds


def plan(strategy: Strategy, backbone: Backbone, latent_size: tuple[int, int], latent_frames: int) -> Plan:
    """A strategy on a backbone whose model is on "meta", in the last chunk of a video of so many latent frames.

    A bounded memory costs the same from when it is full, so it is filled and no further. What one that grows costs is
    linear in its context: beyond a certain length it follows from two shorter videos.
    Raises HorizonError for a backbone that has contents, and what `rollout` raises.
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
    work, activations = _chunk(strategy, backbone, latent_size, min(latent_frames, full))
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
        cache_bytes_per_token=spec.bytes(1),
        laid_out_bytes=laid_out,
        shared_bytes=laid_out // spec.layers,
        activation_bytes=activations,
        pictures=chunk * backbone.pictures_per_latent,
        work=work,
    )


def _chunk(
    strategy: Strategy, backbone: Backbone, latent_size: tuple[int, int], latent_frames: int
) -> tuple[list[Work], int]:
    """The work of the last chunk of a video that long, a commit pass included, and the most that it allocates."""
    config, chunk, dtype = backbone.model.config, backbone.chunk, backbone.model.dtype
    # Up to its last two chunks a video is given: commit passes alone fill a memory.
    given = latent_frames - 2 * chunk
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
        next(chunks)
    return count.work, count.peak_bytes


@dataclass(frozen=True)
class _Nothing:
    """Noise without contents."""

    dtype: torch.dtype

    def initial(self, chunk: int, shape: torch.Size) -> Tensor:
        return torch.empty(shape, dtype=self.dtype, device="meta")

    def renoise(self, chunk: int, step: int, shape: torch.Size) -> Tensor:
        return self.initial(chunk, shape)


@cache
def at_hand(dtype: torch.dtype, device: str) -> Device:
    """The device on which something was measured: by its data sheet where that is known, else as `here` finds it."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    known = (found for key, found in DEVICES.items() if key in name and dtype == torch.bfloat16)
    return next(known, None) or here(dtype, device)


def here(dtype: torch.dtype, device: str = "cpu", seconds: float = 0.5) -> Device:
    """A device that is at hand, by its fastest matrix product and its fastest copy within so many seconds each."""
    size = 8192 if device == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    source = torch.empty(2**28 if device == "cuda" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    if device == "cuda":
        name, memory = torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1]
    else:
        name, memory = f"{HERE}, {torch.get_num_threads()} threads", psutil.virtual_memory().total
    return Device(
        name,
        2 * size**3 / _fastest(lambda: torch.matmul(left, right, out=out), device, seconds),
        2 * source.nbytes / _fastest(lambda: target.copy_(source), device, seconds),
        memory,
    )


def _fastest(work: Callable[[], object], device: str, seconds: float) -> float:
    """Seconds of the fastest of the runs that fit into so many."""
    best, until = math.inf, time.perf_counter() + seconds
    work()
    while time.perf_counter() < until or best == math.inf:
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best
