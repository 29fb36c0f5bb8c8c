"""An archive in the host's memory: it grows as planned, its frames never change, and a saved state restores it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.errors import HorizonTooLongError, ResumeError
from harness.memory import At, Entries, Memory, Strategy
from harness.memory.archive import Archive
from harness.memory.proxy import Watched
from harness.registry import strategy
from harness.verify import byte_invariants, invariants
from harness.verify.bench import Workbench
from strategies.longlive_rag.memory import Retrieval

RAG = strategy("longlive_rag")
CHUNKS = 120


def caught() -> tuple[list[Memory], Callable[[Memory], Memory]]:
    """Where memories are found, and a `watch` that puts them there."""
    opened: list[Memory] = []

    def watch(memory: Memory) -> Memory:
        opened.append(memory)
        return memory

    return opened, watch


def test_it_grows_by_the_same_bytes_every_chunk_as_planned() -> None:
    """Over 360 latent frames, two rows; on the device nothing grows."""
    bench, (opened, watch) = Workbench(RAG), caught()
    spec = bench.spec(batch=2)
    archived, held = [], []
    for chunk in bench.roll(CHUNKS, watch=watch, seeds=(0, 1)):
        chunk.state()
        frames = chunk.start + 3
        archived.append(opened[0].archive_nbytes())
        held.append(opened[0].nbytes())
        assert archived[-1] == RAG.archive_bytes(spec, frames)
        assert held[-1] == RAG.footprint(spec, frames)
    growth = {after - before for before, after in itertools.pairwise(archived[8:])}
    frame = 2 * 2 * 4 * 2 * 24 * 4  # rows, layers, tokens, keys and values of 24 channels in float32
    assert growth == {3 * (frame + 2 * 4 * 4)}  # and a descriptor of 4 channels a row
    assert set(held[12:]) == {9 * frame}


def test_a_state_refers_to_the_archive_and_copies_all_else() -> None:
    bench, (opened, watch) = Workbench(RAG), caught()
    first: dict[str, Any] = {}
    for chunk in bench.roll(9, watch=watch):
        state = chunk.state()
        if chunk.index == 5:
            first = state
    archive = opened[0].archived()
    assert list(archive)[: len(first["archive"])] == list(first["archive"])
    assert all(archive[name] is x for name, x in first["archive"].items())
    held = {x.data_ptr() for x in opened[0].stored()}
    assert not held & {x.data_ptr() for frame in state["memory"]["frames"][0].values() for x in frame}


def test_what_is_archived_are_copies() -> None:
    """Of frames that somebody else may write to once they were let go of."""
    bench, (opened, watch) = Workbench(RAG), caught()
    let_go: list[Tensor] = []

    class Spoil(Watched):
        def remember(self, layer: int, entries: Entries, query: Tensor | None, at: At) -> None:
            before = dict(self.inner.held(layer))
            super().remember(layer, entries, query, at)
            for frame in before.keys() - self.inner.held(layer).keys():
                let_go.extend(before[frame].tensors)

    bench.latents(8, watch=lambda memory: Spoil(watch(memory)))
    assert let_go
    assert not {x.data_ptr() for x in let_go} & {x.data_ptr() for x in opened[0].archived().values()}


@pytest.mark.parametrize("stop", [3, 6, 9])
def test_a_rollout_goes_on_with_its_archive_and_archives_on(stop: int) -> None:
    bench = Workbench(RAG)
    opened, watch = caught()
    whole, state = [], {}
    for chunk in bench.roll(12, watch=watch, seeds=(4, 5)):
        whole.append(chunk.latents)
        if chunk.index == stop:
            state = chunk.state()
    before = {name: x.clone() for name, x in state["archive"].items()}
    rest = bench.latents(12, watch=watch, seeds=(4, 5), resume=state)
    assert all(map(torch.equal, rest, whole[stop + 1 :]))
    ours, theirs = opened[1].archived(), opened[0].archived()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], x) for name, x in theirs.items())
    # What was handed over is as it was: neither longer nor written to.
    assert list(state["archive"]) == list(before)
    assert all(torch.equal(state["archive"][name], x) for name, x in before.items())


def test_a_state_without_its_archive_is_refused() -> None:
    bench = Workbench(RAG)
    *_, last = bench.roll(8)
    state = last.state()
    del state["archive"]
    with pytest.raises(ResumeError, match="it lacks archive"):
        bench.roll(9, resume=state)


def test_an_archive_that_does_not_fit_the_host_is_refused_before_the_first_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(type(RAG), "archive_bytes", lambda self, spec, frames: 10**15)
    with pytest.raises(HorizonTooLongError, match=r"archives 1000000.00 GB of 30 latent frames in the host's memory"):
        Workbench(RAG).roll(10)


def test_rows_retrieve_for_themselves() -> None:
    """Other rows, other frames; a batch of them is what each is alone."""
    opened, watch = caught()
    bench = Workbench(RAG)
    both = bench.latents(14, watch=watch, seeds=(4, 5))
    assert isinstance(opened[0], Retrieval)
    assert opened[0].chosen[0] != opened[0].chosen[1]
    for row, seed in enumerate((4, 5)):
        alone = bench.latents(14, seeds=(seed,))
        assert max((a[row : row + 1] - b).abs().max() for a, b in zip(both, alone, strict=True)) < 2e-5


def test_the_archive_of_a_plan_has_no_contents() -> None:
    archive = Archive(torch.device("meta"))
    assert archive.room("0", (2, 3), torch.float32).is_meta


class Forgetful(Retrieval):
    """Lets go of what it archived."""

    def see(self, latents: Tensor, at: At) -> None:
        super().see(latents, at)
        if at.start == 12:
            del self.archive.tensors["1.0"]


class Rewriting(Retrieval):
    """Writes into what it archived."""

    def see(self, latents: Tensor, at: At) -> None:
        super().see(latents, at)
        if at.start == 15:
            self.archive.tensors["1.0"].add_(1)


class Hoarding(Retrieval):
    """Keeps alive what it does not name."""

    def see(self, latents: Tensor, at: At) -> None:
        super().see(latents, at)
        self.hidden = latents.clone()


def opening(kind: type[Retrieval], **changes: Any) -> Strategy:
    """The strategy, whose memory is of another kind."""

    def opened(self: Any, spec: Any) -> Memory:
        memory = type(RAG).open(self, spec)
        memory.__class__ = kind
        return memory

    return type("Case", (type(RAG),), {"open": opened, **changes})()


@pytest.mark.parametrize("kind", [Forgetful, Rewriting])
def test_an_archive_that_changes_is_found_out(kind: type[Retrieval]) -> None:
    with pytest.raises(invariants.BrokenError, match=r"after chunk \d what it had archived is not what it was"):
        byte_invariants.planned_bytes(Workbench(opening(kind)))


def test_what_is_neither_held_nor_archived_is_found_out() -> None:
    with pytest.raises(invariants.BrokenError, match=r"after chunk 0 it keeps \d+ bytes alive and names \d+ of them"):
        byte_invariants.planned_bytes(Workbench(opening(Hoarding)))


def test_an_archive_of_other_bytes_than_planned_is_found_out() -> None:
    planned = type(RAG).archive_bytes
    broken = opening(Retrieval, archive_bytes=lambda self, spec, frames: planned(self, spec, frames) + (frames > 9))
    with pytest.raises(invariants.BrokenError, match=r"after chunk 3 it has archived \d+ bytes, and \d+ were planned"):
        byte_invariants.planned_bytes(Workbench(broken))
