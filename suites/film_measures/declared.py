"""Declarations of the measures: name, unit, better direction, description, bounds.

They are plain data, because viewers import this module in separate environments. `*` stands for the quality or the
features that a measure is made of.
"""

from __future__ import annotations

Declared = tuple[str, str, str, float | None, float | None]

LAGS = (0.5, 1, 2, 5, 10, 30, 60)
"""Seconds between the pictures of a pair in the lag curve."""

OVER_TIME = "_over_time"
"""End of the names of VBench's dimensions as curves over clips."""
PICTURES, DINO, CLIP = "pictures", "dino", "clip"
"""Features: the reduced pictures themselves; DINOv2's; CLIP's image features."""


def lag_name(lag: float, features: str) -> str:
    """Return the name of the point of a lag curve."""
    return f"lag_{lag:g}s_{features}"


def similarity_measures(features: str, about: str) -> dict[str, Declared]:
    """Return the measures that are made of features of any kind."""
    lags: dict[str, Declared] = {
        lag_name(lag, features): ("1", "neither", f"cosine of {about} of pictures {lag:g} s apart", -1, 1)
        for lag in LAGS
    }
    return lags | {
        f"anchoring_{features}": ("1", "neither", f"cosine of {about}: last fifth to the first 5 %", -1, 1),
        f"anchoring_control_{features}": ("1", "neither", "the same, to as many pictures a quarter in", -1, 1),
        f"stuck_{features}": ("share", "lower", "of the last fifth: as near to the beginning as to 2 s before", 0, 1),
        f"returned_{features}": ("1", "lower", "largest rise of the cosine to the first pictures", 0, 2),
        f"loop_{features}": ("1", "lower", "correlation of the strongest repetition at any period", 0, 1),
        f"loop_period_{features}": ("s", "neither", "its period", 0, None),
    }


LEVELS: dict[str, Declared] = {
    "luminance": ("1", "neither", "mean luminance of pictures (BT.601)", 0, 1),
    "contrast": ("1", "neither", "standard deviation of the luminance of a picture", 0, 0.5),
    "saturation": ("1", "neither", "largest minus smallest of red, green and blue, mean", 0, 1),
    "detail": ("1", "neither", "mean absolute difference of neighbouring pixels", 0, 2),
}
"""Levels of pictures, window by window."""

PLAIN: dict[str, Declared] = {
    **LEVELS,
    "alive": ("share", "higher", "neither blank, still, a loop of any length nor churning", 0, 1),
    "to_first_pictures": ("1", "neither", "cosine of reduced pictures to the first 5 % of them", -1, 1),
    **similarity_measures(PICTURES, "reduced pictures"),
    "cuts": ("count", "lower", "jumps beyond max(.10, mean + 5 sd) of the change from picture to picture", 0, None),
    "pulse": ("1", "lower", "correlation of mean luminance with itself a chunk later", -1, 1),
}
"""Measures of the viewer `plain`, which need no other model."""

STRUCTURE: dict[str, Declared] = {
    **similarity_measures(DINO, "DINOv2 features"),
    **similarity_measures(CLIP, "CLIP image features"),
    "clip_f": ("1", "neither", "CLIP-F: cosine of CLIP image features of neighbouring pictures", -1, 1),
    "clip_t_10s": ("points", "higher", "CLIP-T by segments of 10 s: 100 cosines of pictures and prompt", 0, 100),
    "clip_f_10s": ("1", "neither", "CLIP-F by segments of 10 s", -1, 1),
    "dino_10s": ("1", "neither", "by segments of 10 s: cosine to the first picture and to the one before", 0, 1),
    "chunk_flow": ("1", "lower", "length of optical flow across chunk borders over that elsewhere", 0, None),
}
"""Further measures of the viewer `perceptual`."""

QUALITY: dict[str, Declared] = {
    "musiq": ("points", "higher", "MUSIQ (SPAQ) of pictures, through pyiqa", 0, 100),
    "hpsv3": ("1", "higher", "HPSv3 of pictures and the prompt of their scene", None, None),
    "video_reward_vq": ("1", "higher", "VideoReward (VideoAlign): visual quality, at both ends", None, None),
    "video_reward_mq": ("1", "higher", "VideoReward (VideoAlign): motion quality, at both ends", None, None),
    "video_reward_ta": ("1", "higher", "VideoReward (VideoAlign): text alignment, at both ends", None, None),
}
"""Measures of the viewer `quality`, by models of packages of their own."""

DERIVED: dict[str, Declared] = {
    "delta_drift_15_*": ("as measured", "lower", "first and last 15 % apart (FramePack, Rolling Forcing)", 0, None),
    "delta_drift_20_*": ("as measured", "lower", "first and last 20 % apart (Helios)", 0, None),
    "delta_drift_5s_*": ("as measured", "lower", "first and last 5 s apart (Forcing-KV)", 0, None),
    "vde_log_*": ("1", "lower", "Video Drift Error over 10 parts, logarithmic weights (LV-Bench)", 0, None),
    "vde_normalised_*": ("1", "lower", "the same with linear weights, over their sum", 0, None),
    "vde_*": ("1", "lower", "the same with linear weights, as published", 0, None),
    "first_20_minus_all_abs_*": ("as measured", "lower", "first fifth minus whole (BAgger), absolute", 0, None),
    "first_20_minus_all_*": ("as measured", "neither", "first fifth minus whole, as published", None, None),
    "kept_*": ("share", "higher", "the same in first and last fifth, times alive", 0, 1),
    "resembles_*": ("share", "higher", "cosine of the last fifth to the first pictures, times alive", 0, 1),
}
"""Scores that are made of curves and of other measures when a report is read; of two names that fit, the first
counts."""

RECOMMENDED = ("alive", "kept_*", "resembles_*")
"""Summary measures that a video which stands still, loops, is blank or churns cannot win."""
