"""The world of a backbone whose videos can be compared with a known truth.

Such a backbone was trained on synthetic videos that are made of named attributes. Its `KnownWorld` renders what a video
should show, and reads off what it does show, so that suites measure identity and recall instead of estimating them.
Suites test a backbone for a world, never for its name; a third party's world is used like the embedded one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from harness.memory.terms import Boundary

Prompts = Sequence[tuple[int, str]]
"""The prompts of one video, each with the latent frame at which it begins; the first begins at 0."""
UNSURE = -1
"""Marks a value that cannot be read off."""
UNSHOWN = -2
"""Marks a true value that the pictures do not show, such as the speed of an object at rest."""


@dataclass(frozen=True)
class Truth:
    """The attributes that videos should show.

    Parameters
    ----------
    pixels
        Float [B, F, 3, height, width] in 0..1.
    values
        Index of the value of each attribute, in the order of `KnownWorld.attributes`; `UNSHOWN` where no picture shows
        it. Int64 [B, F, attributes].
    visible
        Whether a frame shows its scene; false while something covers the view. Bool [B, F].
    """

    pixels: Tensor
    values: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Reading:
    """Attributes read off pictures of any leading shape [...].

    Parameters
    ----------
    values
        Index of the value of each attribute that one picture shows, in the order of `KnownWorld.seen`; `UNSURE` where
        none is certain enough. Int64 [..., seen].
    confidence
        Probability of the likeliest value. Float [..., seen].
    places
        Centre (x, y) of the object in pixels; valid where `present`. Float [..., 2].
    present
        Whether an object is seen. Bool [...].
    """

    values: Tensor
    confidence: Tensor
    places: Tensor
    present: Tensor


class KnownWorld(Protocol):
    """Truth, language and probe of a synthetic world.

    Attributes
    ----------
    attributes : mapping of str to sequence of str
        Names of the attributes with their values. Those that a single picture shows come first.
    seen : sequence of str
        The attributes that a single picture shows; the others, motion for instance, take several pictures.
    fade : int
        Latent frames over which a smooth switch takes place.
    cycle : int
        Latent frames after which a motion repeats itself; 0 for motions that never do.
    curtain : str or None
        A prompt that covers the view while the scene behind it continues; None where the world has no such prompt.
    """

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def seen(self) -> Sequence[str]: ...
    @property
    def fade(self) -> int: ...
    @property
    def cycle(self) -> int: ...
    @property
    def curtain(self) -> str | None: ...

    def draw(self, seed: int, scene: int = 0) -> Mapping[str, str]:
        """Return the values that a scene has where its prompt leaves them open.

        Parameters
        ----------
        seed
            Seed of the rollout.
        scene
            The place of the scene in its script, from 0.

        Returns
        -------
        mapping
            A value for every attribute.
        """
        ...

    def changed(
        self, look: Mapping[str, str], seed: int, turn: int, names: Sequence[str] | None = None
    ) -> Mapping[str, str]:
        """Return new values for a few attributes of a scene.

        Parameters
        ----------
        look
            The value of every attribute before.
        seed
            Seed of the rollout.
        turn
            Number of the change in its rollout.
        names
            Which attributes change; None for some that the seed draws.

        Returns
        -------
        mapping
            The attributes that change, each of them in `seen`, with values that differ from those in `look`.
        """
        ...

    def prompt(self, said: Mapping[str, str], boundary: Boundary | None = None, number: int | None = None) -> str:
        """Return the prompt that states some attributes.

        Parameters
        ----------
        said
            Values by attribute; the prompt leaves all others open.
        boundary
            How the scene is entered; None for the first scene of a video.
        number
            The number of the scene in its script, from 1, where the prompt is to name it: a return to a scene that its
            attributes do not tell from others.

        Returns
        -------
        str
            A prompt that the text encoder of the backbone understands.

        Raises
        ------
        PromptError
            For an attribute or a value that the world does not have.
        """
        ...

    def said(self, prompt: str) -> Mapping[str, str]:
        """Return the values that a prompt states, by attribute.

        Raises
        ------
        PromptError
            For a prompt that this world does not understand.
        """
        ...

    def check(self, prompts: Prompts) -> None:
        """Raise PromptError for prompts that cannot follow one another in a video.

        Parameters
        ----------
        prompts
            The prompts of one video.

        Raises
        ------
        PromptError
            For a prompt that this world does not understand, and a return to a scene that was never there.
        """
        ...

    def film(self, scripts: Sequence[Prompts], seeds: Sequence[int], frames: int, start: int = 0) -> Truth:
        """Render what videos should show.

        Parameters
        ----------
        scripts
            The prompts of every video, B of them.
        seeds
            The seed of every video; decides what its prompts leave open.
        frames
            Latent frames to render.
        start
            The first latent frame to render.

        Returns
        -------
        Truth
            Truth of the latent frames `start` to `start + frames`.

        Raises
        ------
        PromptError
            For a script that cannot be rendered.
        """
        ...

    def read(self, pictures: Tensor) -> Reading:
        """Read single pictures.

        Parameters
        ----------
        pictures
            Float [..., 3, height, width] in 0..1.

        Returns
        -------
        Reading
            Reading with the leading shape of the pictures.
        """
        ...

    def read_run(self, pictures: Tensor) -> Tensor:
        """Read runs of consecutive frames as a whole.

        Parameters
        ----------
        pictures
            Float [B, T, 3, height, width] in 0..1.

        Returns
        -------
        Tensor
            Index of the value of every attribute, `UNSURE` where none is certain enough. Int64 [B, attributes].
        """
        ...

    def moves(self, values: Tensor) -> Tensor:
        """Return whether an object with attributes [B, attributes] moves, bool [B]; false where it is not known."""
        ...

    def steps(self, reading: Reading, values: Tensor) -> Tensor:
        """Return whether the object moves from frame to frame as far as its attributes say.

        Parameters
        ----------
        reading
            Reading of consecutive frames [B, T].
        values
            Expected attributes, int64 [B, attributes].

        Returns
        -------
        Tensor
            Bool [B, T - 1]; false where nothing is known of the motion.
        """
        ...

    def paint(self, values: Tensor, places: Tensor) -> Tensor:
        """Paint pictures without any fault, as references for metrics of pictures.

        Parameters
        ----------
        values
            Int64 [..., attributes].
        places
            Centres of the object in pixels, float [..., 2].

        Returns
        -------
        Tensor
            Float [..., 3, height, width] in 0..1.
        """
        ...


def agreed(values: Tensor) -> Tensor:
    """Return the value that most frames of a run have; frames that are unsure do not count.

    Parameters
    ----------
    values
        Index of the value of each attribute, negative where unsure. Int64 [B, T, attributes].

    Returns
    -------
    Tensor
        Int64 [B, attributes]; `UNSURE` where no frame is sure.
    """
    kinds = int(values.amax().clamp(min=0)) + 1
    votes = F.one_hot(values.clamp(min=0), kinds) * (values >= 0)[..., None]
    total = votes.sum(1)
    return total.argmax(-1).masked_fill(total.sum(-1) == 0, UNSURE)
