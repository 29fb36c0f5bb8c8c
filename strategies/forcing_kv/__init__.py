"""Forcing-KV: heads that look at the latest frames, and heads that need what changed.

Paper: Forcing-KV, arXiv:2605.09681; the released code at commit 50ac1f4.
A file says which heads are static and which are dynamic; `horizon calibrate forcing_kv --backbone NAME` makes one. Up
to the chunk number `start`, and in layer 0 always, every head sees the sink and the latest frames. After it, in the
other layers, static heads see the sink and the last `static_context` frames. Dynamic heads see the sink, the last
`temporal_context` frames, and patches of the frames before these: each commit compares the rotated keys of consecutive
frames at the same place, over all dynamic heads of the first grouped layer, and keeps the patches that are least like
those of the next frame, the same ones in all layers. They replace the patches that were kept before. Keys stand at
absolute ids.

Paper and released code agree where both speak; the code adds that layer 0 and the first chunks are not grouped. At a
prompt switch grouping ends, the sink stays or goes, the last frames are replayed, and grouping begins again at once.

Deviations: the released code chooses patches by the first row of a batch; here each row does. Where the first grouped
layer has no dynamic heads, the first layer that has some chooses; the released code stops there. `patches` without a
value is 6, as released, or the next smaller number that divides the tokens of a frame. A sink takes no frame twice.
"""

from strategies.forcing_kv.strategy import ForcingKV

__all__ = ["ForcingKV"]
