"""The backbone: the causal Wan DiT, its positions, attention, sampler and checkpoints."""
