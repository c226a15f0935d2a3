"""A waveform as an Ogg Vorbis file, the same bytes each time."""

import io
import struct
import zlib

import numpy as np

SERIAL = 1  # of the one stream; libsndfile draws it by the clock
SERIAL_AT, CHECKSUM_AT, SEGMENTS_AT = 14, 22, 26  # in the head of an Ogg page
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def encode_ogg(waveform: np.ndarray, sample_rate_hz: int) -> bytes:
    """Mono float32 [S] as an Ogg Vorbis file: a sixth of the size of FLAC, and as reproducible."""
    import soundfile

    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", sample_rate_hz, channels=1, format="OGG", subtype="VORBIS"
    ) as file:
        for start in range(0, len(waveform), sample_rate_hz):
            file.write(waveform[start : start + sample_rate_hz])  # libsndfile 1.2 crashes on more
    return with_serial(stream.getvalue(), SERIAL)


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The Ogg stream with another serial number in all its pages."""
    pages = bytearray(ogg)
    start = 0
    while start < len(pages):
        segments = pages[start + SEGMENTS_AT]
        sizes = start + SEGMENTS_AT + 1
        end = sizes + segments + sum(pages[sizes : sizes + segments])
        struct.pack_into("<I", pages, start + SERIAL_AT, serial)
        struct.pack_into("<I", pages, start + CHECKSUM_AT, 0)
        struct.pack_into("<I", pages, start + CHECKSUM_AT, _checksum(bytes(pages[start:end])))
        start = end
    return bytes(pages)


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32. It takes the bits the other way round than zlib's, and starts from 0."""
    mirrored = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
