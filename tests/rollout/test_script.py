"""Scripts of prompts: what they say, and where they are wrong."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import PromptError
from harness.rollout.script import Cue, Script, encoded, is_script, parse_script
from harness.rollout.task_rollout import cues_of


def parsed(text):
    return parse_script(text, rate=4, chunk=3)


def test_scenes_last_whole_chunks_and_the_last_takes_the_rest():
    """Ten seconds are 13 chunks, as released; the sum of three is 120 latent frames, not 117."""
    script = parsed("a fox [10s] | a den [10s#] | a fox [10s@]".replace("[10s@]", "[10s]"))
    assert script == Script((Cue(0, "a fox"), Cue(39, "a den", "smooth"), Cue(78, "a fox", "hardcut")), 120)


def test_a_mark_says_how_a_scene_is_left():
    script = parsed("a [21f@] | b [0.5s#]|c")
    assert script.cues == (Cue(0, "a"), Cue(21, "b", "recall"), Cue(24, "c", "hardcut"))
    assert script.frames == 24 + 63
    assert parsed("only one") == Script((Cue(0, "only one"),), 63)


def test_a_semicolon_is_part_of_a_prompt():
    script = parsed("a fox; slow motion [21f#] | a den; 35mm film [3f]|;")
    assert [cue.text for cue in script.cues] == ["a fox; slow motion", "a den; 35mm film", ";"]


@pytest.mark.parametrize(
    "text",
    [
        "a [10s]",
        "a [ 84f@ ] | b",
        "a | b [1.5s#] ",
        "a[0s]",
        "a [10s!]",
        "a [10 sec] | b",
        "[-3s]",
        "a [10s]; A | B",
        "a fox [10S]",
        "a fox [10 Seconds]",
        "a [10,5s] | b",
        "a [1m]",
        "a [2 min]",
        "a [1e9s]",
        "a [10s].",
        'a [10s]"',
    ],
)
def test_a_mark_makes_a_script(text):
    assert is_script(text)


@pytest.mark.parametrize(
    "text",
    ["a", "a | b; c", "a [macro] b", "a cat [1]", "a clock [10s] that stops", "a fox [20fps]", "a [5s exposure]", "[]"],
)
def test_what_has_no_mark_is_no_script(text):
    assert not is_script(text)


@given(
    st.lists(st.tuples(st.integers(1, 90), st.sampled_from(["", "#", "@"])), min_size=1, max_size=6),
)
def test_what_is_written_is_read_again(scenes):
    text = " | ".join(f"scene {n} [{3 * chunks}f{left}]" for n, (chunks, left) in enumerate(scenes[:-1]))
    text = f"{text} | end [{3 * scenes[-1][0]}f]" if text else f"end [{3 * scenes[-1][0]}f]"
    script = parsed(text)
    assert str(script) == text
    assert parsed(str(script)) == script
    assert script.frames == sum(3 * chunks for chunks, _ in scenes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a | | b", r"scene 2 \(from character 4\): no prompt"),
        ("[10s]", "scene 1 .*no prompt"),
        ("a [10] | b", r"cannot read the mark \[10\]"),
        ("a [0s] | b", r"cannot read the mark \[0s\]"),
        ("a [10s!] | b", r"cannot read the mark \[10s!\]"),
        ("a [1.5f] | b", "whole numbers"),
        *(
            (f"a [{mark}]", rf"cannot read the mark \[{mark}\]; write seconds or latent frames above 0")
            for mark in ("10S", "10 Seconds", "10,5s", "1m", "1e9s")
        ),
        ("a [10s].", r"brackets hold the mark at a scene's end, \[10s\]"),
        ("a [10s] b | c", "scene 1 .*brackets hold the mark"),
        ("a [10s] | b [10s]; A | B", "scene 2 .*remove subtitles behind the semicolon: cut -d';' -f1 FILE"),
        ("a [3s] | b [3s#]", "scene 2 .*ends with '#', and no scene follows"),
    ],
)
def test_a_malformed_script_is_one_clear_line(text, words):
    with pytest.raises(PromptError, match=words) as caught:
        parsed(text)
    assert "\n" not in str(caught.value)


def encode(prompts):
    return torch.tensor([[[float(len(prompt))]] for prompt in prompts])


def test_cues_of_a_batch_are_encoded_scene_by_scene():
    rows = [(Cue(0, "a"), Cue(6, "bb", "hardcut")), (Cue(0, "ccc"), Cue(6, "dddd", "hardcut"))]
    first, second = encoded(rows, encode)
    assert (first.start, first.boundary, first.texts) == (0, "smooth", ["a", "ccc"])
    assert (second.start, second.boundary, second.texts) == (6, "hardcut", ["bb", "dddd"])
    assert first.embeddings.flatten().tolist() == [1, 3]
    assert second.embeddings.flatten().tolist() == [2, 4]


@pytest.mark.parametrize("other", [(Cue(0, "a"),), (Cue(0, "a"), Cue(9, "b")), (Cue(0, "a"), Cue(6, "b", "recall"))])
def test_rows_of_a_batch_that_do_not_go_together_are_refused(other):
    with pytest.raises(PromptError, match="must switch at the same frames and in the same way"):
        encoded([(Cue(0, "a"), Cue(6, "b")), other], encode)


def test_the_stored_form_of_a_row_becomes_cues():
    assert cues_of(((0, "a"), (6, "b")), ("smooth", "recall")) == (Cue(0, "a"), Cue(6, "b", "recall"))
    with pytest.raises(ValueError, match="shorter"):
        cues_of(((0, "a"), (6, "b")), ("smooth",))
