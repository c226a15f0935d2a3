"""A reader whose process ends at one file. Apart, because its processes import this module."""

import os
import signal

from clamp3.retrieval.embedding.reading import Prepared, Reader


class DeadlyReader(Reader):
    """Ends its process at part 1/1.abc."""

    def __call__(self, task: tuple) -> Prepared:
        if task[0].id == "part 1/1.abc":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(task)
