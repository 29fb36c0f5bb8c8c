"""Scored memories: the tokens that stay in each row, their cost, and scores at full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.backbone.layout import DenseLayout
from harness.errors import KnobError
from harness.measure.counting import weighed
from harness.memory import At, Entries, Layout, MemorySpec, Strategy
from harness.memory.scored import Scored, ScoredMemory, Tokens, choose, take, tokens
from harness.registry import strategy
from strategies.videomla.layout import LatentLayout
from tests.lanes import pushed

HEADS, CHANNELS, GRID = 2, 6, (2, 2)
SIZE = GRID[0] * GRID[1]
LIMIT = 256e6


def spec(batch: int = 2, layout: Layout | None = None, chunk: int = 3) -> MemorySpec:
    return MemorySpec(1, layout or DenseLayout(HEADS, CHANNELS), SIZE, chunk, batch, grid=GRID)


@dataclass(frozen=True, kw_only=True)
class First(Scored):
    """Scores are the first channel of the first head's key: what a test put there."""

    paper = "https://example.org"

    def scores(self, tokens: Tokens) -> Tensor:
        return torch.cat([keys[:, :, 0, 0] for keys in tokens.unrotated_keys()], 1)


@dataclass(frozen=True, kw_only=True)
class Sums(First):
    accumulates = True

    def scores(self, tokens: Tokens) -> Tensor:
        return tokens.before + super().scores(tokens)


def entries(generator: torch.Generator, frames: int = 3, batch: int = 2) -> Entries:
    return Entries(*(torch.randn(batch, frames, SIZE, HEADS, CHANNELS, generator=generator) for _ in range(2)))


def committed(chosen: Strategy, chunks: int) -> tuple[ScoredMemory, dict[int, Entries]]:
    """A memory after so many chunks, and everything that it was given."""
    memory, generator, given = chosen.open(spec()), torch.Generator().manual_seed(0), {}
    assert isinstance(memory, ScoredMemory)
    for start in range(0, 3 * chunks, 3):
        lent = entries(generator)
        given |= {start + frame: lent[frame : frame + 1].map(Tensor.clone) for frame in range(3)}
        memory.remember(0, lent, None, At(start, 3, 4, commit=True))
        lent.map(lambda x: x.fill_(torch.nan))
    return memory, given


@pytest.mark.parametrize("kind", [First, Sums])
@pytest.mark.parametrize("max_reuse", [None, 1, 2])
def test_rows_keep_their_own_best_tokens(kind: type[Scored], max_reuse: int | None) -> None:
    """Against lists of tokens: what is kept, in which order, with what is cached of each."""
    chunks, chosen = 8, kind(window=11, sink=2, recent=4, max_reuse=max_reuse)
    memory, given = committed(chosen, chunks)
    (own,) = memory.layers
    for row in range(2):
        kept: list[int] = []
        uses: dict[int, int] = {}
        running: dict[int, float] = {}
        frames: list[int] = []
        for start in range(0, 3 * chunks, 3):
            frames += range(start, start + 3)

            def score(token: int, row: int = row) -> float:
                return float(given[token // SIZE].tensors[0][row, 0, token % SIZE, 0, 0])

            whole = [frame * SIZE + place for frame in frames for place in range(SIZE)]
            running = {token: running.get(token, 0.0) + score(token) for token in {*kept, *whole}}
            if len(frames) + len(kept) // SIZE <= 8:
                continue
            leaving, frames = frames[2:-4], [*frames[:2], *frames[-4:]]
            may = [*kept, *(frame * SIZE + place for frame in leaving for place in range(SIZE))]
            may = [token for token in may if max_reuse is None or uses.get(token, 0) < max_reuse]
            best = sorted(may, key=(running.__getitem__ if kind is Sums else score), reverse=True)[: 2 * SIZE]
            kept = sorted(best)
            uses = {token: uses.get(token, 0) + 1 for token in kept}
        assert own.ids is not None
        assert own.chosen is not None
        assert own.ids[row].tolist() == kept
        assert list(own.frames) == frames
        for mine, part in zip(own.chosen.tensors, (0, 1), strict=True):
            theirs = [given[token // SIZE].tensors[part][row, 0, token % SIZE] for token in kept]
            torch.testing.assert_close(mine[row].flatten(0, 1), torch.stack(theirs), rtol=0, atol=0)
        if own.chosen_running is not None:
            theirs = torch.tensor([running[token] for token in kept])
            torch.testing.assert_close(own.chosen_running[row], theirs)
        if own.uses is not None:
            assert own.uses[row].tolist() == [uses[token] for token in kept]


@pytest.mark.parametrize("kind", [First, Sums])
@pytest.mark.parametrize("max_reuse", [None, 3])
def test_bytes_on_paper_are_those_that_are_held(kind: type[Scored], max_reuse: int | None) -> None:
    chosen = kind(window=11, sink=2, recent=4, max_reuse=max_reuse)
    for chunks in range(1, 6):
        memory, _ = committed(chosen, chunks)
        assert memory.nbytes() == chosen.footprint(spec(), 3 * chunks)


def test_a_context_names_the_place_of_every_token() -> None:
    for positions in ("slot", "original"):
        memory, _ = committed(First(window=11, sink=2, recent=4, positions=positions), 4)
        (own,) = memory.layers
        context = memory.recall(0, None, At(12, 3, 0, commit=False))
        assert isinstance(context.positions, Tensor)
        assert own.ids is not None
        assert context.positions.shape == (2, 8 * SIZE, 3)
        times, rows, columns = context.positions.unbind(-1)
        here = slice(2 * SIZE, 4 * SIZE)
        assert torch.equal(rows[:, here] * 2 + columns[:, here], own.ids % SIZE)
        whole = [0, 1, None, None, 8, 9, 10, 11] if positions == "original" else range(8)
        for slot, time in enumerate(whole):
            part = times[:, slot * SIZE : (slot + 1) * SIZE]
            if time is None:
                assert torch.equal(part, own.ids.unflatten(1, (-1, SIZE))[:, slot - 2] // SIZE)
            else:
                assert (part == time).all()
        assert context.start == (12 if positions == "original" else 8)


@pytest.mark.parametrize("piece", [512, 5])
def test_attention_in_pieces_is_that_of_all_tokens_at_once(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "QUERIES", piece)
    generator = torch.Generator().manual_seed(0)
    layout, whole = DenseLayout(HEADS, CHANNELS), entries(generator, 4)
    query = torch.randn(2, 7, HEADS, CHANNELS, generator=generator)
    at, asked = (torch.randint(0, 9, (1, count, 3), generator=generator) for count in (4 * SIZE, 7))
    seen = Tokens(layout, [whole[frame : frame + 1] for frame in range(4)], at, query, asked)
    keys, queries = layout.rotated(whole.tensors[0].flatten(1, 2), at), layout.rotated(query, asked)
    weights = (torch.einsum("bqhc,bkhc->bhqk", queries, keys) / CHANNELS**0.5).softmax(-1)
    torch.testing.assert_close(seen.attention(), weights.sum(2).mean(1))
    assert seen.attention().sum(1).tolist() == pytest.approx([7, 7])


def test_a_layout_rotates_as_its_attention_does() -> None:
    """A frame's keys by single tokens are those that a laid-out context holds; float64 stays float64."""
    from harness.backbone.rope import Rope, head_radians

    generator = torch.Generator().manual_seed(0)
    layout, keys = DenseLayout(HEADS, CHANNELS), torch.randn(1, SIZE, HEADS, CHANNELS, generator=generator).double()
    rope = Rope(head_radians(CHANNELS), GRID, torch.float64)
    ready, _ = layout.ready((keys, keys), rope.frames([17.0]), None)
    at = torch.tensor([[(17, row, column) for row in range(2) for column in range(2)]])
    torch.testing.assert_close(layout.rotated(keys, at), ready, rtol=0, atol=1e-12)
    assert layout.rotated(keys.half(), at).dtype == torch.float32


def test_tokens_that_may_not_be_chosen_leave_their_slot_as_it_was() -> None:
    places, there = choose(torch.tensor([[1.0, -torch.inf, 3.0], [-torch.inf, -torch.inf, 0.0]]), 2)
    assert places.tolist() == [[0, 2], [2, 2]]
    assert there.tolist() == [[True, True], [True, False]]
    frames = [torch.arange(6.0).view(2, 1, 3)]
    assert take(frames, torch.full((2, 2), -1.0), places, there).tolist() == [[0, 2], [5, -1]]


@pytest.mark.parametrize(
    ("knobs", "layout", "message"),
    [
        ({"window": 9}, None, r"^First: window 9 is smaller than sink 3 \+ memory 4 \+ chunk 3 = 10 latent frames"),
        (
            {"window": 13, "max_reuse": 2},
            None,
            r"^First: with max_reuse 2, 4 frames of tokens are to be chosen each time and only 3 frames are new; use "
            r"max_reuse none, or make room for at most 3 frames of chosen tokens$",
        ),
    ],
)
def test_knobs_that_do_not_fit(knobs: dict[str, Any], layout: Layout | None, message: str) -> None:
    with pytest.raises(KnobError, match=message):
        First(**knobs).open(spec(layout=layout))


def test_a_latent_layout_can_be_scored_by_its_keys_only() -> None:
    """Its keys are one vector a token, which queries do not meet as they are."""
    latents = spec(layout=LatentLayout(8, 4))
    assert First().open(latents).capacity == 9

    class Asks(First):
        reads_query = True

    refused = (
        "^LatentLayout does not hold the keys that queries meet, so tokens cannot be scored against queries; choose"
    )
    for asks in (Asks(), strategy("deep_forcing")):
        with pytest.raises(KnobError, match=refused):
            asks.open(latents)
    assert strategy("deep_forcing", compression=False).open(latents).capacity == 18


def full_size(dtype: torch.dtype, frames: int, asked: int) -> Tokens:
    """Tokens of a layer of Wan at 480x832, on paper."""
    size, layout = 1560, DenseLayout(12, 128)

    def empty(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    each = [Entries(*(empty(1, 1, size, 12, 128) for _ in range(2))) for _ in range(frames)]
    at, asking = (empty(1, count * size, 3, dtype=torch.int64) for count in (frames, asked))
    return Tokens(layout, each, at, empty(1, asked * size, 12, 128), asking)


@pytest.mark.nightly
@pytest.mark.parametrize("dtype", pushed([torch.bfloat16, torch.float32], torch.bfloat16), ids=str)
def test_scores_at_full_size_take_little_memory(dtype: torch.dtype) -> None:
    seen = full_size(dtype, 21, 6)
    with weighed() as count:
        seen.attention()
    assert 0 < count.peak_bytes <= LIMIT
    wan = MemorySpec(1, seen.layout, 1560, 3, dtype=dtype, device=torch.device("meta"), grid=(30, 52))
    for fusion in ("sum", "max"):
        memory = strategy("deep_forcing", fusion=fusion).open(wan)
        assert isinstance(memory, ScoredMemory)
        with weighed() as count:
            memory.scores(seen)
        assert 0 < count.peak_bytes <= LIMIT


@pytest.mark.parametrize("budget", [16, 21])
def test_a_compression_at_full_size_takes_little_memory(budget: int) -> None:
    """Scores, choice, gathered tokens and places, the chosen tokens included; of 21 frames."""
    seen = full_size(torch.bfloat16, 3, 3)
    wan = MemorySpec(1, seen.layout, 1560, 3, dtype=torch.bfloat16, device=torch.device("meta"), grid=(30, 52))
    memory = strategy("deep_forcing", budget=budget, max_reuse=None).open(wan)
    for start in range(0, 21, 3):
        memory.remember(0, Entries.cat(seen.frames), seen.query, At(start, 3, 4, commit=True))
    with weighed() as count:
        memory.recall(0, seen.query, At(21, 3, 0, commit=False))
    assert len(memory.held(0)) == 11
    assert 0 < count.peak_bytes <= LIMIT
