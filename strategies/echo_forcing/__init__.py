"""Echo-Forcing: hierarchical temporal memory inside a scene, and a memory of scenes across prompt switches.

Paper: Echo-Forcing, arXiv:2605.16003.
Inside a scene a window of 21 frames holds 12 anchors, which roll back and forth over the scene's first frames, the
tokens of 3 frames that are chosen out of the history by how well future queries will match them, 3 recent frames and
the chunk. At a prompt switch all that goes; the new scene starts behind one recalled frame, which stands for an earlier
scene (and, at a smooth switch, two old frames). What is carried so fades by difference-aware decay and leaves after a
few chunks. A hard cut also moves the first chunk far away by its positions; a recall, a little. All positions are
cache slots. Training-free.

Paper and released code differ; defaults follow the code. Drift gate: the code has exp(-3 (1 - cosine)), the paper's
figure the cosine (`gate="paper"`). Amplitude term: the code adds mean magnitude minus magnitude of the mean, the figure
has the opposite sign (`amplitude="paper"`). History: the paper speaks of the scene's, the code keeps 21 frames
(`history`). A compressed token is turned by the slot it lands in, not where it was (`compressed_rope`). The released
code knows the whole script when it matches scenes (`known="script"`); in a stream only what was said so far is known
(`known="stream"`). It works on one video at a time; here every row of a batch chooses its own tokens and scenes.

Its own: anchors that do not roll at all where `rolling_cycle` is 0; blocks of anchors begin at whole chunks of the
first frames, also where carried frames that never leave shift the clock by less than a chunk; a prompt of which no
telling word is left is matched whole; without texts, prompts are matched by their embeddings.
"""

from strategies.echo_forcing.strategy import EchoForcing

__all__ = ["EchoForcing"]
