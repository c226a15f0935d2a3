"""What the processes of `test_file_conversion` do; apart, so that they import little."""

import os
import signal
import time
from pathlib import Path


def obey(order: tuple[str, object]) -> object:
    """`value`: give it back; `hang`; `die`; `die_once`: only while the file is not there."""
    what, value = order
    if what == "hang":
        time.sleep(600)
    if what == "raise":
        raise OSError(value)
    if what == "die" or (what == "die_once" and not Path(value).exists()):
        Path(value).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def end_at_once(*_: object) -> None:
    """Stands for a process that cannot even start."""
    os._exit(3)
