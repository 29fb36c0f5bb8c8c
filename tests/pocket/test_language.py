import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HorizonError, PromptError
from harness.pocket.language import ATTRIBUTES, COLOURS, LONGEST, VOCABULARY, Saying, WordEncoder, parse

COLOURED = ("colour", "ground", "accent")


@st.composite
def sayings(draw):
    said = {name: draw(st.sampled_from(values)) for name, values in ATTRIBUTES.items() if draw(st.booleans())}
    colours = draw(st.permutations(COLOURS))
    said |= {name: colours[place] for place, name in enumerate(COLOURED) if name in said}
    return Saying(said, draw(st.sampled_from(["first", "smooth", "hardcut", "recall"])))


@given(sayings())
def test_what_is_said_can_be_read_again(saying):
    assert parse(saying.sentence()) == saying


@given(sayings())
def test_sentences_fit_the_encoder(saying):
    assert len(saying.sentence().split()) <= LONGEST
    assert WordEncoder()([saying.sentence()]).shape == (1, WordEncoder.text_len, WordEncoder.text_dim)


def test_known_sentences():
    everything = parse("A large red disc slides fast on blue with green stripes.")
    assert everything.said == {
        "size": "large",
        "colour": "red",
        "shape": "disc",
        "motion": "slides",
        "speed": "fast",
        "ground": "blue",
        "accent": "green",
        "texture": "stripes",
    }
    assert parse("a thing") == Saying()
    assert parse("back to a curtain") == Saying(kind="recall", covered=True)
    assert parse("a thing with white marks").said == {"accent": "white"}
    assert parse("cut to a thing moves slowly").said == {"speed": "slowly"}


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a large red dics", "'dics'; nearest: disc"),
        ("a large xylophone", "'xylophone'; the world's words are"),
        ("", "an empty prompt"),
        ("a red", "says no shape; write 'thing'"),
        ("a disc red", "'red' is out of place"),
        ("a slides disc", "'slides' is out of place"),
        ("a disc on", "'on' needs a colour"),
        ("a disc on stripes", "'on' needs a colour"),
        ("a disc with green", "'with' needs a texture"),
        ("a disc on blue with dots disc", "'disc' is out of place"),
        ("a red disc on red", "need different colours"),
        ("a disc on blue with blue dots", "need different colours"),
    ],
)
def test_what_is_no_sentence_is_one_clear_line(prompt, says):
    with pytest.raises(PromptError, match=says) as caught:
        parse(prompt)
    assert isinstance(caught.value, HorizonError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", [{"taste": "sweet"}, {"colour": "pink"}])
def test_what_the_world_does_not_have_cannot_be_said(said):
    with pytest.raises(PromptError, match=r"the pocket world has|allowed: red"):
        Saying(said).sentence()


def test_unknown_words_are_refused_by_the_encoder_too():
    with pytest.raises(PromptError, match="nearest: stripes"):
        WordEncoder()(["a thing", "a thing with stripez"])


def test_too_many_words_are_refused():
    with pytest.raises(PromptError, match="at most 14"):
        WordEncoder()([" ".join(["a"] * 20)])


def test_embeddings_tell_roles_apart_and_are_the_same_every_time():
    encode = WordEncoder()
    roles = ["a red thing on blue", "a blue thing on red", "a thing on red with blue marks"]
    first = encode(roles)
    assert torch.equal(first, encode(roles))
    red = [
        first[row][first[row].reshape(-1, 3, len(VOCABULARY))[:, 1, VOCABULARY.index("red")] == 1] for row in range(3)
    ]
    for one, other in itertools.combinations(red, 2):
        assert not torch.equal(one, other)


def test_padding_is_zero_and_rows_do_not_depend_on_each_other():
    encode = WordEncoder()
    both = encode(["a thing", "a large red disc slides fast on blue with green stripes"])
    assert torch.equal(both[0], encode(["a thing"])[0])
    assert not both[0, 2:].any()
