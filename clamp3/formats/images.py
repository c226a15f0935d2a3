"""Image files as upright RGB pixels."""

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clamp3.errors import FormatError

READ = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 50_000_000  # as 150 MB of pixels; a larger picture tells a captioner no more


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels [height, width, 3], uint8, of an image as it is looked at."""

    pixels: np.ndarray

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.pixels.nbytes

    @classmethod
    def read(cls, source: Path | bytes) -> "Picture":
        """A PNG, JPEG or WebP file, turned as its EXIF data says; of several frames the first.

        What is transparent shows the colour stored beneath it, and 16-bit greys become 8-bit ones.

        Raises FormatError: `unreadable_file`, `unreadable_image`, and before it is decoded
        `image_too_large`.

        Differs: the originals do not turn photographs that were taken with the camera on its side.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                # Its other warnings are of damaged metadata, which costs no pixel.
                warnings.filterwarnings("ignore", module=r"PIL\.")
                return cls(_pixels(source))
        except Image.DecompressionBombError as error:
            raise FormatError("image_too_large", _too_large("more than 150 million")) from error
        except UnidentifiedImageError as error:
            raise FormatError(
                "unreadable_image", f"not an image that is read; expected {', '.join(READ)}"
            ) from error
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
            if getattr(error, "errno", None):  # of the file; Pillow's own have none
                raise FormatError("unreadable_file", f"cannot be read: {error}") from error
            raise FormatError("unreadable_image", f"a damaged image ({error})") from error


def _pixels(source: Path | bytes) -> np.ndarray:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=READ) as image:
        if image.width * image.height > MOST_PIXELS:
            raise FormatError("image_too_large", _too_large(f"{image.width} x {image.height}"))
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
        if "transparency" in upright.info:
            upright = upright.convert("RGBA")
        return np.array(upright.convert("RGB"))


def _too_large(found: str) -> str:
    return f"an image of {found} pixels, expected at most {MOST_PIXELS}; make it smaller"
