"""Upper limits of requests. A larger value is a mistake and is refused before anything is computed."""

LARGEST_SEED = 2**32 - 1
"""Largest seed of a campaign, a sample or a training. Seeds of rollouts are derived from it: they are up to SEEDS_APART
times as large, and must still be 64-bit integers in every table."""
SEEDS_APART = 1000
"""Distance between the first seeds of rollouts under neighbouring seeds of a campaign."""
MOST_SEEDS = 1000
"""Most seeds of a campaign; each seed repeats all of its rollouts."""
LARGEST_ROLLOUT_SEED = 2**63 - 1
"""Largest seed that a suite may give a rollout: tables store seeds as signed 64-bit integers."""
LONGEST = 31 * 24 * 3600.0
"""Most seconds of a video: 31 days."""
MOST_FRAMES = 2**28
"""Most latent frames of a video or a scene."""
LARGEST_SIDE = 16_384
"""Most pixels of a picture's longer side."""
MOST_THREADS = 1024
MOST_WORKERS = 256
MOST_ARMS = 10_000
"""Most arms of a campaign; each arm has at least one cell."""
