"""The memories behind which the pocket is trained."""

import collections

import torch

from harness import registry
from harness.pocket.training.memories import DRAWN, HELD_OUT, draw_strategy


def drawn(count):
    return [draw_strategy(torch.Generator().manual_seed(number)) for number in range(count)]


def test_every_strategy_of_the_list_is_drawn_with_many_knobs():
    found = collections.Counter(type(strategy).__name__ for strategy in drawn(400))
    assert len(found) == len(DRAWN)
    assert min(found.values()) > 10
    assert len({repr(strategy) for strategy in drawn(400)}) > 250


def test_the_same_generator_draws_the_same_strategy():
    assert list(map(repr, drawn(20))) == list(map(repr, drawn(20)))


def test_what_is_held_out_is_never_drawn():
    for text in HELD_OUT:
        _, held_out = registry.parse_strategy(text)
        knob = text.partition(".")[2].rpartition(",")[2].partition("=")[0]
        own = [strategy for strategy in drawn(400) if type(strategy) is type(held_out)]
        assert own
        assert held_out not in own
        if knob not in ("window", "sink", "positions"):
            assert all(getattr(strategy, knob) != getattr(held_out, knob) for strategy in own)
    assert all(strategy.knobs().get("sink") != 5 for strategy in drawn(400) if "anchors" not in strategy.knobs())
