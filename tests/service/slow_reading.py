"""A reader of uploads that takes its time."""

import time
from dataclasses import dataclass

from clamp3.service.upload_reading import Read, Upload, UploadReader


@dataclass(frozen=True)
class SlowReader:
    """Reads as the other does, but for files that say "slow"."""

    reader: UploadReader

    def __call__(self, upload: Upload | None) -> Read | None:
        if upload is None:
            return None
        if upload.path.read_bytes() == b"slow":
            time.sleep(60)
        return self.reader(upload)
