"""Time and memory of importing and scoring films without other models.

`python -m tests.benchmarks.foreign [--films 40] [--seconds 30] [--workers 2]` writes films of 480 by 832 pixels, 16 a
second, into a temporary folder, and runs `horizon score` on them. The bar for 40 films of 30 s on two cores: six
minutes, and at most 1 GB in any process.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from tests.suites.filmed import texture

HEIGHT, WIDTH, RATE = 480, 832, 16


def film(path: Path, seconds: int, seed: int) -> Path:
    """Write a film of a moving texture under noise."""
    ground = texture(HEIGHT, WIDTH, seed).astype(int)
    noise = np.random.default_rng(seed).integers(-6, 6, (4, HEIGHT, WIDTH, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(seconds * RATE):
            picture = np.roll(ground, (2 * number, number), (1, 0)) + noise[number % len(noise)]
            frame = av.VideoFrame.from_ndarray(np.uint8(picture.clip(0, 255)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="horizon-foreign-") as home:
        # A few different films are enough; the others are copies under other names, and other prompts.
        first = [
            film(Path(home, f"prompt {number}-0.mp4"), asked.seconds, number) for number in range(min(4, asked.films))
        ]
        films = list(first)
        for number in range(len(first), asked.films):
            copy = Path(home, f"prompt {number}-0.mp4")
            copy.write_bytes(first[number % len(first)].read_bytes())
            films.append(copy)
        command = [sys.executable, "-m", "harness.cli", "score", *map(str, films), "--name", "theirs", "--workers"]
        began = time.monotonic()
        subprocess.run([*command, str(asked.workers), "--out", str(Path(home, "out"))], check=True, capture_output=True)
        spent = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"{asked.films} films of {asked.seconds} s: {spent:.0f} s with {asked.workers} workers, {cpu:.0f} s of CPU, "
          f"at most {used.ru_maxrss / 1e6:.2f} GB in a process")  # fmt: skip


if __name__ == "__main__":
    main()
