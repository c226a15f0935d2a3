"""The section `audio` of a small run; each test file lays its own values over it."""

AUDIO = {
    "source": "folder",
    "folder": "recordings",
    "render_share": 1.0,
    "render_seconds": 3.0,
    "front_end": "mel",
    "mert_folder": None,
    "resampler": "sinc",
    "window_seconds": 5.0,
    "min_tail_seconds": 1.0,
    "max_rejected_share": 0.9,
}
