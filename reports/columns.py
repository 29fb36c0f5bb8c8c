"""Which numbers the tables and plots of a report show, and what they are called there."""

from __future__ import annotations

Columns = tuple[tuple[str, str, str], ...]
"""Scenario, score, heading."""

COLUMNS: Columns = (
    ("steady", "unsaid_identity", "unsaid identity"),
    ("steady", "identity", "identity"),
    ("steady", "survival", "itself for (s)"),
    ("steady", "motion", "motion"),
    ("steady-text", "identity", "identity, from text"),
    ("occlusion", "unsaid_identity", "after an occlusion"),
    ("forced", "distance", "distance to full (%)"),
)
"""Of rollouts whose truth is known."""
SIX = "six-21"
SWITCHES: Columns = (
    (SIX, "responded", "followed"),
    (SIX, "leakage_12", "old scene stays"),
    ("hardcut-21", "leakage_12", "after a cut"),
    ("recall-21", "recall", "back after 5 s"),
    ("recall-84", "recall", "after 21 s"),
)
PRICES: Columns = (
    (SIX, "jump", "jump at a switch"),
    (SIX, "constancy", "constancy in a scene"),
)
"""Of prompt switches."""
FILMED: Columns = (
    ("steady", "dino", "DINO"),
    ("steady", "clip", "CLIP"),
    ("steady", "lpips", "LPIPS"),
    ("steady", "psnr", "PSNR (dB)"),
    ("steady", "sharpness", "sharpness"),
    ("steady", "clip_score", "CLIP score"),
    ("steady", "dynamic", "moves"),
    ("steady", "guard", "alive"),
)
FILMED_SWITCHES: Columns = (
    ("smooth", "clip_score_scene", "CLIP score, smooth"),
    ("hardcut", "clip_score_scene", "after a cut"),
    ("hardcut", "clip_old", "of the old prompt"),
    ("recall", "recall_dino", "back (DINO)"),
    ("recall", "recall_dino_chance", "by chance"),
    ("six", "clip_score_scene", "six scenes"),
)
"""Of backbones whose truth is not known: of films, what viewers saw included."""
VBENCH: Columns = tuple(
    ("vbench", metric, head)
    for metric, head in (
        ("total_score", "total"),
        ("quality_score", "quality"),
        ("semantic_score", "semantic"),
        ("plain_mean_memrope", "plain mean (MemRoPE's six)"),
        ("plain_mean_videomla", "plain mean (VideoMLA's six)"),
        ("subject_consistency", "subject"),
        ("background_consistency", "background"),
        ("temporal_flickering", "flickering"),
        ("motion_smoothness", "smoothness"),
        ("dynamic_degree", "dynamic"),
        ("aesthetic_quality", "aesthetic"),
        ("imaging_quality", "imaging"),
        ("overall_consistency", "overall"),
    )
)
LOOKED_AT = ("dino", "clip", "lpips", "ssim", "clip_score")
"""Curves of films."""
HEADLINE = ("steady", "unsaid_identity")
"""The score that plots of cost and the words about the baseline are of."""
ASIDE = ("chunk (ms)", "identity", "identity, from text", "motion")
"""Headings that are not shown on the terminal."""
RATES: Columns = (
    ("stream", "dit_fps", "DiT (FPS)"),
    ("stream", "stream_fps", "with decoder"),
    ("stream", "wall_fps", "with start-up"),
    ("switches", "first_ms", "first picture (ms)"),
    ("switches", "chunk_p50_ms", "chunk p50"),
    ("switches", "chunk_p90_ms", "p90"),
    ("switches", "chunk_p99_ms", "p99"),
    ("switches", "switch_ms", "after a switch"),
)
BYTES: Columns = (
    ("stream", "cache_bytes", "cached"),
    ("stream", "planned_cache_bytes", "planned"),
    ("stream", "planned_laid_out_bytes", "laid out, planned"),
    ("stream", "weights_bytes", "weights"),
    ("stream", "encoder_bytes", "text encoder"),
    ("stream", "decoder_bytes", "decoder"),
    ("stream", "peak_bytes", "peak"),
    ("stream", "planned_peak_bytes", "peak, planned"),
    ("stream", "growth_bytes", "cache grows a chunk by"),
    ("stream", "process_growth_bytes", "process grows a chunk by"),
)
"""Of what it costs."""
