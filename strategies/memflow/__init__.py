"""MemFlow: a window behind a sink, and a bank of earlier frames that the prompt chooses.

Paper: MemFlow, arXiv:2512.14699; the released code at commit 7ed5147.
Each layer has a bank of `bank` frames on top of its window. Every chunk, or every `interval`-th one, records its first
frame. Before a chunk the recorded frame enters the bank: into one slot for `interval` chunks, then into the next one;
once all are taken, the frames are scored by the mean product of their turned keys with the prompt's cross-attention
keys, and the best ones stay. A bank frame may also be in the window, and is attended to twice then. Keys stand at
absolute ids. With sparse memory activation (`sma`) each head attends to three frames of sink and bank only, those whose
mean key fits the mean query best, in every pass.

Paper and released code differ; defaults follow the code. Paper: scores have a softmax (released: none), and the bank
changes with every chunk. Released: the plain pipeline (`"single"`) records every chunk, the one with prompt switches
(`"interactive"`) every `interval`-th, and takes the same recorded frame again at each chunk between (`retake`). At a
switch the prompt's keys are zero when the bank changes, so that only the second chunk's choice hears the new prompt;
`switch_query="prompt"` is what the paper means. Then the window is replayed as LongLive does; with `"zero_sink"` the
sink is zeros from then on, as it is released without a global sink.

Deviations: with `sma`, the released replay at a switch cannot be done here: it counts queries of frames that it drops,
and may hide replayed frames from each other. Of a sink larger than a chunk the released code attends to empty slots in
the first chunk; here, to what there is. Beyond 1021 frames it stops with an error; here ids go on.
"""

from strategies.memflow.strategy import MemFlow

__all__ = ["MemFlow"]
