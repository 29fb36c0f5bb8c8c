"""LongLive-RAG: a window behind a sink, and the frames that are likest to the latest one, of all that ever left.

Paper: LongLive-RAG, arXiv:2606.02553; the released code at commit 973884a.
A chunk attends to the first `sink` frames, to the latest frames and to `memory` retrieved ones. What leaves the latest
frames goes into an archive in the host's memory, which is never trimmed; every frame of the video is described by a
vector. Once a chunk, before its first pass, the vectors of the archived frames are compared with that of the latest
frame by their cosine; the best `memory` frames come back to the device, the same ones for all layers and passes. The
candidates end `exclude` frames before the frame that left a window of `window` frames last. All positions are cache
slots, and all retrieved frames stand at slot 0, where the sink begins.

As released, `window` slots are in use from early on, of which `memory` are for retrieved frames: the frames in these
slots are seen by nobody, also while nothing can be retrieved yet, so that a chunk sees fewer frames than the window
has. Here these frames are in the archive already, and not on the device.

Paper and released code differ; the default follows the code. Readme: blocks are compared with the current one.
Released: single frames are compared with the last finished one. Released configurations say `descriptor="ae"`, a
trained frame encoder; where its file is missing the code silently goes on with means of latents, `"avg_pool"`, which
is the default here, since no file can be shipped.

Deviations: in the released code a batch of several rows stops with an error in the second chunk; here every row chooses
for itself. Descriptors are kept and compared in float32 at least. Of a sink larger than a chunk the released code
attends to empty slots in the first chunk; here, to what there is. There is no pipeline with prompt switches: here the
memory is kept, or the window is replayed as LongLive does, and what was archived stays under its old prompt.
"""

from strategies.longlive_rag.strategy import LongLiveRAG

__all__ = ["LongLiveRAG"]
