"""Scripts of prompts: what they say, and where they are wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import PromptError
from harness.script import Cue, Script, parse_script, read_scripts


def parsed(text):
    return parse_script(text, rate=4, chunk=3)


def test_scenes_last_whole_chunks_and_the_last_takes_the_rest():
    """Ten seconds are 13 chunks, as released; the sum of three is 120 latent frames, not 117."""
    script = parsed("a fox [10s] | a den [10s#] | a fox [10s@]".replace("[10s@]", "[10s]"))
    assert script == Script((Cue(0, "a fox"), Cue(39, "a den", "smooth"), Cue(78, "a fox", "hardcut")), 120)


def test_a_mark_says_how_a_scene_is_left():
    script = parsed("a [21f@] | b [0.5s#]|c;  subtitles | and [more]")
    assert script.cues == (Cue(0, "a"), Cue(21, "b", "recall"), Cue(24, "c", "hardcut"))
    assert script.frames == 24 + 63
    assert parsed("only one") == Script((Cue(0, "only one"),), 63)


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
        ("a [10s] b | c", "scene 1 .*brackets hold the mark"),
        ("a [3s] | b [3s#]", "scene 2 .*ends with '#', and no scene follows"),
    ],
)
def test_a_malformed_script_is_one_clear_line(text, words):
    with pytest.raises(PromptError, match=words) as caught:
        parsed(text)
    assert "\n" not in str(caught.value)


def test_lists_of_prompts_and_switches_are_read(tmp_path):
    file = tmp_path / "prompts.jsonl"
    records = [
        {"prompts": ["a", "b", "c"], "switch_frame_indices": "40, 80"},
        {"prompts": ["a", "b"], "frames": 21, "boundaries": ["recall"]},
    ]
    file.write_text("\n".join(json.dumps(record) for record in records) + "\n\n", encoding="utf-8")
    first, second = read_scripts(file, frames=120, rate=4, chunk=3)
    assert first == Script((Cue(0, "a"), Cue(40, "b"), Cue(80, "c")), 120)
    assert second == Script((Cue(0, "a"), Cue(9, "b", "recall")), 21)
    (tmp_path / "one.json").write_text(json.dumps(records), encoding="utf-8")
    assert read_scripts(tmp_path / "one.json", frames=120, rate=4, chunk=3) == [first, second]
    (tmp_path / "lines.txt").write_text("a [3s#] | b\n\nc\n", encoding="utf-8")
    assert len(read_scripts(tmp_path / "lines.txt", frames=None, rate=4, chunk=3)) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"prompts": []}', "line 1: a record needs"),
        ('{"prompts": "a"}', "a record needs"),
        ('{"prompts": ["a", ""]}', "not empty"),
        ('{"prompts": ["a", "b"]}', "at least 6 latent frames; given: None"),
        ('{"prompts": ["a", "b"], "frames": 30, "switch_frame_indices": "1, 2"}', "must be 1 whole numbers"),
        ('{"prompts": ["a", "b"], "frames": 30, "switch_frame_indices": [30]}', r"\[0, 30\] of 30"),
        ('{"prompts": ["a", "b"], "frames": 30, "boundaries": ["cut"]}', "must be 1 of smooth, hardcut, recall"),
        ("{", "line 1: Expecting"),
        ("\n", "no script in it"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, content, words):
    file = tmp_path / "prompts.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(PromptError, match=words):
        read_scripts(file, frames=None, rate=4, chunk=3)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PromptError, match=r"cannot read .*No such file"):
        read_scripts(tmp_path / "none.txt", frames=None, rate=4, chunk=3)
