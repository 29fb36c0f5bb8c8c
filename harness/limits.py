"""How large a request may be. Beyond these numbers it is a mistake, and is refused before anything is computed."""

LARGEST_SEED = 2**32 - 1
"""Of a campaign, a sample or a training. Seeds of rollouts are made from it: 1000 times as large, they must still be
whole numbers of 64 bits in every table."""
MOST_SEEDS = 1000
"""Seeds of a campaign. Each is all of its rollouts once more."""
LARGEST_ROLLOUT_SEED = 2**63 - 1
"""What a suite may give a rollout: a table has a seed as a signed number of 64 bits."""
LONGEST = 31 * 24 * 3600.0
"""Seconds of a video: a month."""
MOST_FRAMES = 2**28
"""Latent frames of a video or a scene."""
LARGEST_SIDE = 16_384
"""Pixels of a picture's longer side."""
MOST_THREADS = 1024
MOST_WORKERS = 256
MOST_ARMS = 10_000
"""Arms of a campaign. Each has at least one cell."""
