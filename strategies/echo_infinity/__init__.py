"""Echo-Infinity: learned queries that evolve with the video, between a sink and the latest frames.

Paper: Echo-Infinity, arXiv:2606.04527.
Keeps the first `sink` frames and the latest `window - sink - chunk`. What leaves the window of the last layer is read
by an encoder, with its own keys and values, and a gate mixes the result into the queries, of which every layer reads
the same keys and values: three memory frames of learned tokens. All temporal ids stay below `reach`, at every stage
of filling.

As released, an update comes after the first pass of the next chunk; that pass still sees the memory as it was.
Deviations: at a prompt switch the released code lays out what it caches anew under a block-causal mask; here it is one
bidirectional pass, as in `attention_sink`. Where no trained parameters exist for a backbone, all that is shown says
"untrained".
"""

from strategies.echo_infinity.strategy import EchoInfinity

__all__ = ["EchoInfinity"]
