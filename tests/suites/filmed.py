"""Small video files whose every pixel is known."""

from fractions import Fraction

import av
import numpy as np


def texture(height=32, width=48, seed=0):
    """A picture with soft, strong shapes, that repeats across: uint8 [H, W, 3]."""
    waves = np.random.default_rng(seed).uniform(-1, 1, (6, 3, 4))
    down, across = np.mgrid[:height, :width]
    values = sum(
        np.sin(2 * np.pi * (number * across / width + amount[0] * 3 * down / height)[..., None] + 6 * amount[1:])
        for number, wave in enumerate(waves, 1)
        for amount in wave
    )
    return np.uint8(255 * (values - values.min()) / np.ptp(values))


def write(path, pictures, rate=4, codec="ffv1"):
    """Write pictures [H, W, 3]; ffv1 and libx264rgb keep every pixel."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = {"ffv1": "bgr0", "libx264rgb": "rgb24"}.get(codec, "yuv420p")
        if codec == "libx264rgb":
            stream.options = {"crf": "0"}
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
