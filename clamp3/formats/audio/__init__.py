"""Recordings: sound files to mono waveforms, equal windows and log-mel statistics, and back."""

from clamp3.formats.audio.batches import WindowBatches
from clamp3.formats.audio.decoding import decode_blocks, read_audio
from clamp3.formats.audio.encoding import encode_ogg
from clamp3.formats.audio.mel import MelFrontEnd
from clamp3.formats.audio.recording import Recording
from clamp3.formats.audio.resampling import resample
from clamp3.formats.audio.windows import SAMPLE_RATE_HZ

__all__ = [
    "SAMPLE_RATE_HZ",
    "MelFrontEnd",
    "Recording",
    "WindowBatches",
    "decode_blocks",
    "encode_ogg",
    "read_audio",
    "resample",
]
