"""Video files of all common kinds with known pictures; some of them are damaged."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.suites.filmed import texture

HEIGHT, WIDTH, COUNT = 48, 64, 24


def pictures(count=COUNT, height=HEIGHT, width=WIDTH):
    """Pictures of which each differs from all others."""
    return [np.ascontiguousarray(np.roll(texture(height, width, 1), 2 * number, 1)) for number in range(count)]


def write(
    path, shown, rate=16, codec="libx264", form="yuv420p", times=None, alpha=None, audio=False, options=None, **about
):
    """Write pictures. times: seconds of each; alpha: of all pixels; about: attributes of the stream's codec context."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options or {})
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = form
        for name, value in about.items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=44100) if audio else None
        for number, picture in enumerate(shown):
            if alpha is not None:
                wide = np.dstack([picture, np.full(picture.shape[:2], alpha, np.uint8)])
                frame = av.VideoFrame.from_ndarray(wide, format="rgba")
            else:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(
                format=form, **({"dst_color_range": "JPEG"} if about.get("color_range") == 2 else {})
            )
            if times is not None:
                frame.time_base, frame.pts = Fraction(1, 1000), round(1000 * times[number])
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            for number in range(90):
                part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                part.sample_rate, part.pts = 44100, 1024 * number
                container.mux(sound.encode(part))
            container.mux(sound.encode())
    return Path(path)


def turn(path, quarters, mirrored=False):
    """Turn the pictures of an mp4 for showing, by the matrix in its header: quarters to the left, mirrored before."""
    unit = 1 << 16
    a, b, c, d = {
        (1, False): (0, -1, 1, 0), (2, False): (-1, 0, 0, -1), (3, False): (0, 1, -1, 0), (0, True): (-1, 0, 0, 1),
    }[quarters, mirrored]  # fmt: skip
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", data, place, a * unit, b * unit, 0, c * unit, d * unit, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def cut_off(path, part=0.5):
    """Leave out the end of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def scratched(path):
    """Overwrite bytes in the middle of a file."""
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 400):
        data[place] ^= 0xFF
    path.write_bytes(data)
    return path


def folder(path, shown, suffix=".png"):
    """A folder with a file a picture, numbered without leading zeros."""
    path.mkdir()
    codec, form = {".png": ("png", "rgb24"), ".jpg": ("mjpeg", "yuvj420p"), ".bmp": ("bmp", "bgr24")}[suffix]
    for number, picture in enumerate(shown):
        with av.open(str(path / f"{number}{suffix}"), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream(codec, rate=1)
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = form
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=form)))
            container.mux(stream.encode())
    return path


def uneven():
    """Times of pictures that are shown for one or three sixteenths of a second, and for how many sixteenths each is."""
    long = [1 + 2 * (number % 3 == 0) for number in range(COUNT)]
    return [sum(long[:number]) / 16 for number in range(COUNT)], long
