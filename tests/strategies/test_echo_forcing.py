"""Echo-Forcing's mechanisms against plain loops, and what is its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import KnobError, SwitchError
from harness.memory import Entries
from harness.memory.scored import choose
from harness.registry import parse_strategy
from harness.verify.bench import Workbench
from harness.verify.run import verify
from strategies.echo_forcing import EchoForcing
from strategies.echo_forcing.compression import Calibration, Scoring
from strategies.echo_forcing.decay import decay_rates
from strategies.echo_forcing.scenes import idf, recall_frame, recall_jump, similar, telling, words
from tests.cases import cases
from tests.oracle import echo_forcing as oracle

CASES = cases(25)
SEEDS = st.integers(0, 2**31)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@CASES
@given(
    rooms=st.sampled_from([(12, 3, 3), (6, 6, 6), (15, 0, 3), (0, 3, 6), (3, 3, 3), (9, 3, 6)]),
    cycle=st.integers(0, 4),
    chunks=st.integers(1, 40),
    scene=st.sampled_from([(0, 0, 0), (30, 3, 5), (27, 1, 1), (60, 1, 5), (9, 3, 2), (12, 2, 1), (12, 3, 0)]),
)
def test_parts_of_the_window(rooms: tuple[int, int, int], cycle: int, chunks: int, scene: tuple[int, int, int]) -> None:
    anchors, compressed, recent = rooms
    start, carried, drop_after = scene
    cycle = min(cycle, (sum(rooms)) // 3)
    drop_after = min(drop_after, (sum(rooms) + 3 - carried) // 3)
    strategy = EchoForcing(anchors=anchors, compressed=compressed, recent=recent, rolling_cycle=cycle)
    slots = strategy.slots(Workbench(strategy).spec())
    slots.enter(start, [-1 - number for number in range(carried)])
    seen = []
    for chunk in range(chunks):
        chosen = [oracle.COMPRESSED] * (slots.compressed_room * slots.rolled)
        seen.append([*slots.anchors, *chosen, *slots.tail])
        assert slots.frames == len(seen[-1])
        assert {frame for frame in seen[-1] if isinstance(frame, int)} <= slots.live
        slots.append(start + 3 * chunk, 3)
        if drop_after and chunk + 1 == drop_after:
            slots.drop_carried()
        slots.make_room()
    assert seen == oracle.windows(chunks, anchors, compressed, recent, cycle, carried, drop_after, start)


@CASES
@given(
    seed=SEEDS,
    sizes=st.tuples(st.integers(1, 3), st.sampled_from([6, 8, 12]), st.integers(1, 4), st.integers(1, 5)),
    knobs=st.tuples(
        st.sampled_from(["released", "paper", "off"]),
        st.sampled_from([0.0, 1.0, 3.0, 10.0]),
        st.sampled_from(["released", "paper", "off"]),
        st.sampled_from(["sum", "max"]),
    ),
    nearest=st.integers(1, 8),
)
def test_scores(seed: int, sizes: tuple[int, ...], knobs: tuple[Any, ...], nearest: int) -> None:
    heads, channels, tokens, frames = sizes
    gate, sharpness, amplitude, fusion = knobs
    pairs = channels // 2
    turning = pairs - 2 * (pairs // 3)
    queries, recent = drawn(seed, 2, 6, heads, channels), drawn(seed + 1, 2, heads, channels)
    keys = [drawn(seed + 2 + frame, 2, tokens, heads, channels) for frame in range(frames)]
    calibration = Calibration.empty(queries, torch.float64)
    calibration.add(queries[:, :4])
    calibration.add(queries[:, 4:])
    scoring = Scoring(5, gate, sharpness, amplitude, fusion)
    ours = scoring.scores(keys, calibration, recent, nearest)
    whole = torch.view_as_complex(queries.unflatten(-1, (-1, 2)))
    expected = [
        [
            oracle.score(
                torch.view_as_complex(keys[frame][row, token].unflatten(-1, (-1, 2))).tolist(),
                whole[row].mean(0).tolist(),
                whole[row].abs().mean(0).tolist(),
                torch.view_as_complex(recent[row].unflatten(-1, (-1, 2))).tolist(),
                nearest + frames - 1 - frame,
                [1, 2, 4, 8, 16],
                turning,
                gate,
                sharpness,
                amplitude,
                fusion,
            )
            for frame in range(frames)
            for token in range(tokens)
        ]
        for row in range(2)
    ]
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@CASES
@given(seed=SEEDS, tokens=st.integers(1, 40), count=st.integers(1, 50), blocked=st.floats(0, 1))
def test_the_best_tokens_are_chosen_in_order(seed: int, tokens: int, count: int, blocked: float) -> None:
    scores = drawn(seed, 2, tokens).masked_fill(drawn(seed + 1, 2, tokens).abs() < blocked, -torch.inf)
    places, there = choose(scores, count)
    for row in range(2):
        finite = [(float(x), number) for number, x in enumerate(scores[row]) if x > -torch.inf]
        expected = sorted(number for _, number in sorted(finite, reverse=True)[:count])
        assert places[row][there[row]].tolist() == expected
        assert there[row].tolist() == [True] * len(expected) + [False] * (min(count, tokens) - len(expected))


@CASES
@given(
    seed=SEEDS,
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4)),
    how=st.sampled_from(["score_weighted", "token_select"]),
    base=st.floats(0, 1),
)
def test_recall_frames(seed: int, sizes: tuple[int, ...], how: Any, base: float) -> None:
    heads, channels, tokens, frames = sizes
    keys = [drawn(seed + frame, 2, 1, tokens, heads, channels) for frame in range(frames)]
    values = [drawn(seed + 10 + frame, 2, 1, tokens, heads, channels) for frame in range(frames)]
    query = drawn(seed + 20, 2, heads, channels)
    made = recall_frame([Entries(*pair) for pair in zip(keys, values, strict=True)], keys, query, how, base)
    for row in range(2):
        of_row = [key[row, 0].tolist() for key in keys]
        for ours, entries in zip(made.tensors, (keys, values), strict=True):
            given_entries = [x[row, 0].tolist() for x in entries]
            expected = oracle.recall_frame(of_row, given_entries, query[row].tolist(), how, base)
            torch.testing.assert_close(ours[row, 0], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@CASES
@given(seed=SEEDS, tokens=st.integers(1, 9), rates=st.tuples(st.floats(0, 1), st.floats(0, 1)), same=st.booleans())
def test_decay(seed: int, tokens: int, rates: tuple[float, float], same: bool) -> None:
    fast, slow = sorted(rates)
    new, old = drawn(seed, 2, tokens, 2, 4), drawn(seed + 1, 2, tokens, 2, 4)
    old = 3 * new if same else old
    ours = decay_rates(new, old, slow, fast)
    for row in range(2):
        expected = oracle.decay(new[row].flatten(1).tolist(), old[row].flatten(1).tolist(), slow, fast)
        torch.testing.assert_close(ours[row], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


KNOBS = [
    "echo_forcing",
    "echo_forcing.hierarchy=false,sink=3",
    "echo_forcing.compressed_rope=time",
    "echo_forcing.compressed_rope=original,gate=paper,amplitude=paper",
    "echo_forcing.anchors=15,compressed=0,rolling_cycle=2",
    "echo_forcing.anchors=0,compressed=6,recent=6,history=42,fusion=max",
    "echo_forcing.rolling_cycle=0,max_reuse=none",
    "echo_forcing.max_reuse=3,recall_frame=token_select,stride=1",
    "echo_forcing.smooth_source=select,hardcut_source=resink,recall_source=nothing,old_recent=3",
    "echo_forcing.smooth_drop_after=0,recall_drop_after=0,hardcut_drop_after=0",
    "echo_forcing.smooth_source=nothing,hardcut_source=nothing,recall_source=nothing,old_recent=0,recall_decay=[0.9,0.9]",
]


@pytest.mark.nightly
@pytest.mark.parametrize("text", KNOBS)
def test_every_knob_keeps_what_a_memory_owes(text: str) -> None:
    broken = [finding for finding in verify(parse_strategy(text)[1]) if finding.state == "fail"]
    assert not broken


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"recent": 2}, "recent 2 is less than a chunk of 3"),
        ({"anchors": 2}, "2 anchors are fewer than a chunk"),
        ({"anchors": 3, "rolling_cycle": 4}, "rolling_cycle 4 is 12 latent frames.*lower it to 3"),
        ({"old_recent": 4}, "old_recent 4 is more than the 3 recent"),
        ({"smooth_decay": (0.9, 0.8)}, "give the smaller factor first"),
        ({"recall_jump_min": 7}, "recall_jump_min 7 is above recall_jump_max 6"),
        ({"hierarchy": False, "sink": 19}, "sink 19 leaves no room"),
        ({"hierarchy": False, "sink": 17}, "old_recent 2 is more than the 1 latent frames behind sink 17"),
        ({"gate": "on"}, "allowed: released | paper | off"),
        ({"recalls": (0,)}, "recalls"),
    ],
)
def test_knobs_that_do_not_fit(knobs: dict[str, Any], words: str) -> None:
    spec = Workbench(EchoForcing()).spec()
    with pytest.raises(KnobError, match=words):
        EchoForcing(**knobs).open(spec)


def test_words_tell_scenes_apart() -> None:
    prompts = ["A fox walks in the snow", "The fox sleeps in a den", "A fox hunts beneath the moon"]
    assert words(prompts[0]) == ["fox", "walks", "snow"]
    assert telling(prompts[:1], prompts) == ["walks snow"]
    assert telling(["The fox"], prompts) == ["The fox"]  # nothing would be left
    vocabulary = sorted({word for prompt in prompts for word in words(prompt)})

    def encode(texts: Any) -> Tensor:
        table = torch.eye(len(vocabulary))
        rows = torch.zeros(len(texts), 8, len(vocabulary))
        for row, text in enumerate(texts):
            for place, word in enumerate(words(text)):
                rows[row, place] = table[vocabulary.index(word)]
        return rows

    back = "The fox walks in the snow again"
    assert similar(back, prompts, [*prompts, back], encode) == pytest.approx([1, 0, 0], abs=1e-6)
    scores = idf(back, prompts, [*prompts, back])
    assert scores[0] == pytest.approx(1)
    assert max(scores[1:]) < 0.5


@pytest.mark.parametrize(
    ("scores", "chosen", "jump"), [([1.0, 0.2], 0, 0), ([0.5, 0.5], 0, 3), ([0.0], 0, 6), ([1.0], 0, 0)]
)
def test_the_less_alike_the_farther(scores: list[float], chosen: int, jump: int) -> None:
    assert recall_jump(scores, chosen, 0, 6) == jump


def test_a_recall_of_a_scene_that_is_not_there() -> None:
    bench = Workbench(EchoForcing(recalls=(3,)))
    with pytest.raises(SwitchError, match="asks for scene 3; scenes 1 to 1 are remembered"):
        bench.latents(4, switches=[(6, bench.prompt(7), "recall")])


def test_each_row_of_a_batch_recalls_its_own_scene() -> None:
    """The first row goes back to its first scene, the second to its second."""
    bench = Workbench(EchoForcing())
    first, second = bench.prompt(1, 2), bench.prompt(3, 4)
    back = torch.cat((first[:1], second[1:]))
    switches = [(9, second, "hardcut"), (18, back, "recall")]
    both = bench.latents(9, seeds=(1, 2), switches=switches)
    for row, seed in enumerate((1, 2)):
        alone = bench.latents(
            9, seeds=(seed,), switches=[(at, prompts[row : row + 1], kind) for at, prompts, kind in switches]
        )
        for ours, theirs in zip(both, alone, strict=True):
            torch.testing.assert_close(ours[row : row + 1], theirs, rtol=0, atol=2e-5)
    swapped = [(9, second, "hardcut"), (18, back, "recall")]
    other = Workbench(EchoForcing(recalls=(1,))).latents(9, seeds=(1, 2), switches=swapped)
    assert torch.equal(other[6][:1], both[6][:1])
    assert not torch.equal(other[6][1:], both[6][1:])
