"""Echo-Infinity: learned queries that are updated with the video, between a sink and the latest frames.

Paper: Echo-Infinity, arXiv:2606.04527.
Keeps the first `sink` frames and the latest `window - sink - chunk`. An encoder reads the frames that leave the window
of the last layer, with the layer's own keys and values, and a gate mixes the result into the queries. Every layer reads
the same keys and values of these queries: three memory frames of learned tokens. All temporal ids stay below `reach`,
at every stage of filling.

As released, an update follows the first pass of the next chunk, so this pass still sees the previous memory.
Deviations: at a prompt switch the released code lays out its cache again under a block-causal mask; here it is one
bidirectional pass, as in `attention_sink`. Where no trained parameters exist for a backbone, every record and report
says "untrained".
"""

from strategies.echo_infinity.strategy import EchoInfinity

__all__ = ["EchoInfinity"]
