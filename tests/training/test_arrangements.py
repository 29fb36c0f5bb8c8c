"""Random contexts: what they hold, and what is said of them."""

import numpy as np
import torch

from harness.training.contexts.arrangements import FEW, Policy, arrange, draw_policy

CHUNK, TOKENS, HEADS, SLOTS, CHUNKS = 3, 4, (4, 8), 9, 6
HEARD = torch.tensor([[0, 0, 1, 1, 1, 2]])


def one(policy, slots=SLOTS):
    return arrange(0, HEARD, CHUNK, TOKENS, HEADS, slots, [policy])


def shown(arrangement, chunk):
    """The frames that a chunk sees whole, with their temporal ids relative to it."""
    seen = arrangement.seen[0, chunk]
    return {int(frame): float(seen[frame]) for frame in (~seen.isnan()).nonzero().squeeze(1)}


def test_a_window_behind_a_sink():
    made = one(Policy(sink=2, recent=4))
    assert shown(made, 0) == {}
    assert shown(made, 1) == {0: -3, 1: -2, 2: -1}
    assert shown(made, 5) == {0: -6, 1: -5, 11: -4, 12: -3, 13: -2, 14: -1}
    assert shown(one(Policy(sink=2, recent=4, relative=False)), 5) == {
        0: -15, 1: -14, 11: -4, 12: -3, 13: -2, 14: -1
    }  # fmt: skip


def test_a_gap_a_limit_and_a_shift_move_old_slots_a_jump_the_chunk():
    assert shown(one(Policy(sink=1, recent=3, gap=7)), 5) == {0: -11, 12: -3, 13: -2, 14: -1}
    assert shown(one(Policy(sink=1, recent=3, relative=False, nearest=5)), 5) == {0: -5, 12: -3, 13: -2, 14: -1}
    assert shown(one(Policy(recent=3, shift=40)), 5) == {12: -3, 13: -2, 14: -1}
    assert one(Policy(recent=3, shift=40)).start[0, 5] == 43
    jumps = one(Policy(recent=3, jump=10))
    assert [shown(jumps, chunk)[3 * chunk - 1] for chunk in (1, 2, 3, 5)] == [-1, -11, -1, -11]


def test_averages_and_mixed_tokens_are_seen_by_nobody_and_hold_what_left():
    made = one(Policy(sink=1, recent=3, averages=(0.5,), pooled=True, mixed=1))
    assert shown(made, 5).keys() == {0, 12, 13, 14}
    shares = made.mixture[0, 5]
    assert torch.allclose(shares.sum(-1)[:6], torch.ones(6))
    average = shares[1:3].sum(0)[1:12]
    assert average.sum() > 1
    assert made.pooled[0, 5].sum() == 1
    assert (made.mixture != made.other).any()


def test_retrieved_frames_share_one_temporal_id():
    made = one(Policy(recent=3, retrieved=2))
    seen = shown(made, 5)
    assert len(seen) == 5
    old = [time for frame, time in seen.items() if frame < 12]
    assert len(set(old)) == 1


def test_a_flush_forgets_what_was_before_a_switch_and_a_replay_counts_from_it():
    assert shown(one(Policy(sink=1, recent=8, flush=2)), 2).keys() == {0, 4, 5}
    assert shown(one(Policy(sink=1, recent=8, flush=2)), 3).keys() == {0, 4, 5, 6, 7, 8}
    made = one(Policy(recent=9, replay=2))
    assert made.replayed.tolist() == [[1, 1, 1, 1, 1, 2]]
    assert made.counts.tolist() == [[False, False, True, True, True, True]]


def test_groups_of_heads_see_less_of_what_is_old():
    made = arrange(0, HEARD.repeat(40, 1), CHUNK, TOKENS, HEADS, SLOTS, [Policy(sink=2, recent=6, grouped=True)] * 40)
    shares = made.heads[:, 5].float().mean((0, 2))[:8]
    sink, between, latest = shares[:2].mean(), shares[2:5].mean(), shares[5:].mean()
    assert 0.2 < between < sink < latest < 1
    plain = one(Policy(sink=2, recent=6))
    assert plain.heads.all()


def test_no_chunk_sees_itself_or_what_comes_after_and_slots_are_never_too_few():
    rng = np.random.default_rng(0)
    for seed in range(60):
        policies = [draw_policy(rng, SLOTS, [2, 5])]
        made = arrange(seed, HEARD, CHUNK, TOKENS, HEADS, SLOTS, policies)
        for chunk in range(CHUNKS):
            assert made.mixture[0, chunk, :, 3 * chunk :].sum() == 0
            assert made.other[0, chunk, :, 3 * chunk :].sum() == 0
            assert not (~made.seen[0, chunk, 3 * chunk :].isnan()).any()
        assert made.jitter.shape == (1, 18, TOKENS, 1, HEADS[1])
        assert made.there[0, 1:].any(-1).any(-1).all()


def test_an_arrangement_is_a_function_of_its_arguments():
    one, again, other = (arrange(seed, HEARD.repeat(4, 1), CHUNK, TOKENS, HEADS, SLOTS) for seed in (3, 3, 4))
    for name, x in vars(one).items():
        assert torch.equal(x.nan_to_num(), getattr(again, name).nan_to_num())
    assert not torch.equal(one.mixture, other.mixture)


def test_narrow_contexts_hold_a_few_frames_and_half_of_them_are_split_among_heads():
    rng = np.random.default_rng(0)
    drawn = [draw_policy(rng, SLOTS, [2], narrow=1.0) for _ in range(400)]
    for policy in drawn:
        used = policy.sink + len(policy.averages) + policy.retrieved + policy.mixed
        assert used + (0 if policy.scattered else policy.recent) <= FEW
    assert 0.4 < np.mean([policy.grouped for policy in drawn]) < 0.6
    assert any(draw_policy(rng, SLOTS, [2]).recent > FEW for _ in range(40))
