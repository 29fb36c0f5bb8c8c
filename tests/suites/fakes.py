"""Videos that must not win: frozen, looped, blank, churning, fading, cut; and one that lives. uint8 [T, H, W, 3]."""

from functools import cache

import numpy as np

RATE, SECONDS = 8, 30
HEIGHT, WIDTH = 48, 64


def living(seed=0, count=RATE * SECONDS):
    """Soft shapes that wander over a ground, and never come back to where they were."""
    return _living(seed, count).copy()


@cache
def _living(seed, count):
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    ground = rng.uniform(0.25, 0.75, 3)
    shapes = [(rng.uniform(0.2, 0.9, 3), rng.uniform(0.05, 0.25), rng.uniform(-2, 2, 8)) for _ in range(9)]
    pictures = []
    for number in range(count):
        time = number / count
        values = np.broadcast_to(ground, (HEIGHT, WIDTH, 3)).copy()
        for colour, size, path in shapes:
            y = 0.5 + 0.4 * np.sin(path[0] + 9 * path[1] * time + 4 * path[2] * time**2)
            x = 0.66 + 0.6 * np.sin(path[3] + 9 * path[4] * time + 4 * path[5] * time**2)
            mask = np.exp(-((((down - y) ** 2 + (across - x) ** 2) / size**2) ** 3))[..., None]
            values = values * (1 - mask) + colour * mask
        pictures.append(values)
    return np.uint8(np.clip(np.stack(pictures), 0, 1) * 255)


def frozen(seed=0):
    return np.repeat(living(seed)[:1], RATE * SECONDS, 0)


def looped(seed=0, seconds=1.5):
    """A stretch of a living video, again and again."""
    stretch = living(seed, 4 * RATE * SECONDS)[:: 4 if seconds > 3 else 8][: round(seconds * RATE)]
    return np.resize(stretch, (RATE * SECONDS, *stretch.shape[1:]))


def blank(seed=0):
    rng = np.random.default_rng(seed)
    return np.uint8(127 + rng.integers(0, 2, (RATE * SECONDS, HEIGHT, WIDTH, 3)))


def churning(seed=0):
    """A new picture every time."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 255, (RATE * SECONDS, 6, 8, 3))
    return np.uint8(fields.repeat(8, 1).repeat(8, 2))


def scenes(seed=0):
    """Another scene every second."""
    parts = [living(100 * seed + number, RATE) for number in range(SECONDS)]
    return np.concatenate(parts)


def fading(seed=0):
    """Contrast and colour go, until almost nothing is left."""
    video = living(seed).astype(float)
    weight = np.linspace(1, 0.15, len(video))[:, None, None, None]
    return np.uint8(weight * video + (1 - weight) * 200)


def cut(seed=0):
    """Another scene in the second half."""
    video = living(seed)
    half = len(video) // 2
    video[half:] = 255 - living(seed + 50)[half:]
    return video


def returning(seed=0):
    """Every five seconds a video jumps back to its beginning and sets out in a new direction."""
    start = living(seed, 1)[0].astype(float)
    parts = []
    for number in range(SECONDS // 5):
        away = living(seed + 1 + number, 5 * RATE).astype(float)
        weight = np.linspace(0, 0.8, 5 * RATE)[:, None, None, None]
        parts.append((1 - weight) * start + weight * away)
    return np.uint8(np.concatenate(parts))


DEAD = {
    "frozen": frozen,
    "looped": looped,
    "looped slowly": lambda seed=0: looped(seed, 8),
    "blank": blank,
    "churning": churning,
    "scenes": scenes,
}
