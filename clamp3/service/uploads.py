"""Uploaded files, each in a folder of its own that is always removed."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from clamp3.service.failures import RequestError
from clamp3.service.forms import FormFile
from clamp3.service.upload_reading import Upload

PATIENCE_SECONDS = 2


class UploadFolder:
    """Where uploads lie while they are read: a folder that only this user can open.

    It is made when the first one arrives.
    """

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The folder itself."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="clamp3-serve-")).resolve()
        return self._path

    def close(self) -> None:
        """Remove it with all that is in it."""
        if self._path:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None

    @asynccontextmanager
    async def receive(self, request: Request, most_bytes: int) -> AsyncIterator[Upload]:
        """The file of a form, for as long as the block lasts.

        Raises RequestError, see FormFile; whatever the headers promise, what arrives counts.
        """
        place = Path(tempfile.mkdtemp(dir=self.path))
        try:
            form = FormFile(request.headers.get("content-type", ""), place, most_bytes)
            with contextlib.closing(form):
                await _fill(form, request)
            yield form.finish()
        finally:
            shutil.rmtree(place, ignore_errors=True)


async def _fill(form: FormFile, request: Request) -> None:
    try:
        async with aclosing(request.stream()) as stream:
            async for chunk in stream:
                try:
                    form.write(chunk)
                except RequestError:
                    await _pass_over(stream)
                    raise
    except ClientDisconnect as error:
        sentence = "the upload ended before the file was complete"
        raise RequestError(400, "cut_off", sentence) from error


async def _pass_over(stream: AsyncIterator[bytes]) -> None:
    """Read on for a moment: who still sends does not hear the answer."""
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for _ in stream:
                pass
