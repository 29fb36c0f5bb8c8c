"""Passes of the model as CUDA graphs: recorded once for each shape of contexts, then replayed in the same memory.

A graph reads and writes the addresses that it was recorded with. Contexts are laid out in buffers that a rollout
allocates once; everything else that a pass reads is copied to a place of its own first. The flow that a pass returns is
a copy; the entries of a commit pass are the graph's own, which a memory copies as it copies all entries.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.backbone.layout import LaidOut, LaidOutByHeads
from harness.backbone.wan import CausalWan, Time

T = TypeVar("T")
Prompt = Sequence[tuple[Tensor, Tensor]]
Output = tuple[Tensor | None, list[tuple[Tensor, ...]], list[Tensor]]
WARM_UPS = 3
"""Runs before a recording, in which kernels are compiled and chosen; a recording must not wait for the device."""
MOST = 8
"""Most graphs of one rollout; passes of further shapes run as compiled blocks. Graphs share the memory of what they
compute on the way, and each has its own for what it returns."""


class Graphs:
    """The recorded passes of one rollout.

    Parameters
    ----------
    model
        The model, whose blocks run compiled.
    device
        The CUDA device.
    queries
        Whether commit passes return the queries of the layers.
    """

    def __init__(self, model: CausalWan, device: torch.device, queries: bool) -> None:
        self.model, self.device, self.queries = model, device, queries
        self._places: dict[Hashable, _Places] = {}
        self._recorded: dict[Hashable, tuple[Callable[[], None], Output]] = {}
        self._pool: Any = None

    def run(
        self, latents: Tensor, time: Time, prompt: Prompt, laid_out: Sequence[LaidOut | LaidOutByHeads], commit: bool
    ) -> Output | None:
        """Run a pass by a graph, which is recorded when it is first needed.

        Parameters
        ----------
        latents, time, prompt, commit
            As `CausalWan.forward` takes them.
        laid_out
            The context of every layer. One with room begins where the layer's own buffers begin.

        Returns
        -------
        tuple or None
            What `CausalWan.forward` returns. Entries and queries are on loan until the next pass of this kind. None
            where no graph can do it: contexts by head, or outside of the buffers that outlive a pass, and more shapes
            than there may be graphs.
        """
        contexts = [each for each in laid_out if isinstance(each, LaidOut) and each.room]
        if len(contexts) < len(laid_out):
            return None
        rotations, numbers = _distinct([context.rotation for context in contexts])
        shapes = (latents.shape, *(x.shape for x in (*time, *rotations)), tuple(numbers))
        key = (shapes, tuple(x.shape for context in contexts for x in context.tensors), commit)
        if key not in self._recorded and len(self._recorded) == MOST:
            return None
        places = self._places.get(shapes)
        if places is None:
            places = self._places[shapes] = _Places(latents, time, prompt, rotations)
        places.take(latents, time, prompt, rotations)
        if key not in self._recorded:
            own = [
                LaidOut(context.tensors, places.rotations[number], room=True)
                for context, number in zip(contexts, numbers, strict=True)
            ]

            def work() -> Output:
                inputs = places.latents, places.time, places.prompt
                flow, owns, queries = self.model(*inputs, own.__getitem__, commit, compile=True)
                return flow, owns, queries if self.queries else []

            self._pool = self._pool or pool()
            self._recorded[key] = recorded(work, self.device, self._pool)
        replay, (flow, owns, queries) = self._recorded[key]
        replay()
        return None if flow is None else flow.clone(), owns, queries


class _Places:
    """Where graphs read the inputs of a pass other than contexts."""

    def __init__(self, latents: Tensor, time: Time, prompt: Prompt, rotations: Sequence[Tensor]) -> None:
        # The caller's inference mode may have ended when they are written to.
        with torch.inference_mode(False):
            self.latents = torch.empty_like(latents)
            self.time = Time(*map(torch.empty_like, time))
            self.prompt = [(torch.empty_like(keys), torch.empty_like(values)) for keys, values in prompt]
            self.rotations = list(map(torch.empty_like, rotations))
        # The objects that were last copied. Holding them keeps another one from getting their identity.
        self._here: list[object] = [None] * (2 + len(rotations))

    def take(self, latents: Tensor, time: Time, prompt: Prompt, rotations: Sequence[Tensor]) -> None:
        """Copy the latents, and every other input that is not the object that was copied last."""
        self.latents.copy_(latents)
        objects: list[object] = [time, prompt, *rotations]
        places = [self.time, [x for pair in self.prompt for x in pair], *([x] for x in self.rotations)]
        tensors = [time, [x for pair in prompt for x in pair], *([x] for x in rotations)]
        for one, last, targets, sources in zip(objects, self._here, places, tensors, strict=True):
            if one is not last:
                for target, source in zip(targets, sources, strict=True):
                    target.copy_(source)
        self._here = objects


def _distinct(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Return the different objects among tensors, and the number of each tensor's object among them."""
    found: list[Tensor] = []
    numbers = []
    for tensor in tensors:
        number = next((number for number, each in enumerate(found) if each is tensor), len(found))
        if number == len(found):
            found.append(tensor)
        numbers.append(number)
    return found, numbers


def pool() -> Any:
    """Return a new memory pool, which the graphs of a rollout share, since they never run at the same time."""
    return torch.cuda.graph_pool_handle()


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all recordings on a device. Libraries keep working memory for each stream that they see."""
    return torch.cuda.Stream(device)


def recorded(work: Callable[[], T], device: torch.device, pool: Any) -> tuple[Callable[[], None], T]:
    """Record the work that a function gives a CUDA device.

    Parameters
    ----------
    work
        Gives the device the same work at each call, in the same memory, without waiting for it.
    device
        The device, with its number.
    pool
        The memory pool of what is allocated in the recording.

    Returns
    -------
    tuple
        A function that does the work again, and what `work` returned: tensors that every replay fills anew.
    """
    with torch.cuda.device(device):
        present, aside = torch.cuda.current_stream(), _stream(device)
        graph = torch.cuda.CUDAGraph()
        try:
            aside.wait_stream(present)
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    work()
            # Other threads may use the device meanwhile.
            with torch.cuda.graph(graph, pool=pool, stream=aside, capture_error_mode="thread_local"):
                made = work()
        finally:
            # A recording that fails leaves its stream as the present one.
            torch.cuda.set_stream(present)
        present.wait_stream(aside)

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay, made
