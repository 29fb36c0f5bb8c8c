"""VideoMLA: a low-rank latent cache instead of keys and values, under any policy.

Paper: VideoMLA, arXiv:2605.30351; written from the paper. Its weights are public (Hidir/VideoMLA on the Hugging Face
hub) and are not read here, because their names and shapes are not known to us.
Caches a token's normed content latent and one un-rotated positional key that all heads share: 224 scalars a layer at
1.3B instead of 3,072. Keys and values of every head are linear in the latent. The policy decides which frames of this
cache are kept: by default the paper's first frame and window of 6, with the current chunk 7 latent frames; the name of
the published checkpoint `stage3_la6_sink1` speaks for 6 recent frames with sink 1.

The paper does not mention Wan's norms and biases of queries, keys and values. Here the norms of the latents replace
Wan's norms, and only the output has a bias, which includes the bias of the values. The paper's initialisation is an SVD
without a procedure; see `strategies.videomla.initial`. Where no trained parameters exist for a backbone, every record
and report says "untrained, SVD only": that is not the paper's method.
"""

from strategies.videomla.strategy import VideoMLA

__all__ = ["VideoMLA"]
