"""Echo-Forcing: hierarchical temporal memory inside a scene, and a memory of scenes across prompt switches.

Paper: Echo-Forcing, arXiv:2605.16003.
Inside a scene a window of 21 frames holds 12 anchors, which roll back and forth over the scene's first frames, the
tokens of 3 frames that are chosen from the history by how well future queries are expected to match them, 3 recent
frames and the chunk. A prompt switch clears the window; the new scene starts behind one recalled frame, which
represents an earlier scene (and, at a smooth switch, two old frames). These carried frames fade by difference-aware
decay and are dropped after a few chunks. A hard cut also moves the first chunk far away in position; a recall moves it
slightly. All positions are cache slots. Training-free.

Paper and released code differ; defaults follow the code. Drift gate: the code has exp(-3 (1 - cosine)), the paper's
figure the cosine (`gate="paper"`). Amplitude term: the code adds mean magnitude minus magnitude of the mean, the figure
has the opposite sign (`amplitude="paper"`). History: the paper names the whole scene, the code keeps 21 frames
(`history`). A compressed token is rotated by its new slot, not by its original position (`compressed_rope`). The
released code uses the whole script when it matches scenes (`known="script"`); a stream only has the prompts so far
(`known="stream"`). The released code works on one video at a time; here every row of a batch chooses its own tokens and
scenes.

Additions of this implementation: anchors that do not roll where `rolling_cycle` is 0; blocks of anchors that begin at
whole chunks of the first frames, also where permanently carried frames shift the clock by less than a chunk; a prompt
that has no distinctive words is matched as a whole; without texts, prompts are matched by their embeddings.
"""

from strategies.echo_forcing.strategy import EchoForcing

__all__ = ["EchoForcing"]
