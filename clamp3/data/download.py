"""Files from the web: resumed where they broke off, checked, and in place only when complete."""

import errno
import hashlib
import http.client
import json
import logging
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from clamp3.data.data_sets import RemoteFile
from clamp3.errors import DataError

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60.0
_ATTEMPTS = 5  # that each bring something; a connection that breaks off is taken up again
# What a connection can die of, apart from not coming about.
_BROKEN = (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)
_STATUS = {
    401: "the server wants a login: accept its terms on the home page and fetch the file there",
    403: "the server refuses it: accept its terms on the home page and fetch the file there",
    404: "the server has no such file; it may have been moved or renamed: see the home page",
    410: "the server has this file no longer: see the home page",
    429: "the server has had too many requests; try again later, what is there is kept",
}
Told = Callable[[int, int | None], None]  # bytes so far, and of how many


class Version(NamedTuple):
    """By what the server knows a version of the file (empty: by nothing), and its bytes."""

    tag: str
    total: int | None


def download_file(file: RemoteFile, folder: Path, told: Told = lambda done, total: None) -> Path:
    """Fetch a file into `folder`; returns its path. A file that is there and right is left alone.

    Until it is complete it is called `<path>.part`, and the next call goes on from there if the
    server can (Range) and its file is still the same one (If-Range, else by its size). Size and
    checksums are compared where they are known.

    Raises DataError, with what to do: no connection, refused by the server, another size or
    checksum than expected (the part is removed), full disk (the part stays).
    """
    path = Path(folder) / file.path
    if path.exists():
        _verify(file, path, f"{path} is there, but it is not the file of {file.url}; move it away")
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _fetch(file, part, told)
    except OSError as error:
        raise _disk_error(error, part) from error
    try:
        _verify(file, part, f"{file.url} is not the expected file; what was fetched is removed")
    except DataError:
        _forget(part)
        raise
    with open(part, "rb") as handle:
        os.fsync(handle.fileno())
    os.replace(part, path)
    _forget(part)
    return path


def _fetch(file: RemoteFile, part: Path, told: Told) -> None:
    """Add to the part until it is whole."""
    for attempt in range(_ATTEMPTS):
        before = _size(part)
        if _fetch_once(file, part, told):
            return
        if _size(part) <= before and attempt:
            break
        log.info("%s: broke off at %d bytes, going on", file.url, _size(part))
    raise DataError(
        f"{file.url}: the connection broke off at {_size(part)} bytes; the same command goes on "
        "from there"
    )


def _fetch_once(file: RemoteFile, part: Path, told: Told) -> bool:
    """One request; returns whether the part is whole, as far as the server tells."""
    start, version = _size(part), _read_version(part)
    headers = {"User-Agent": "clamp3", "Accept-Encoding": "identity"}
    if start and (version or file.bytes or file.sha256 or file.md5):
        headers["Range"] = f"bytes={start}-"
    if version and version.tag:
        headers["If-Range"] = version.tag
    request = urllib.request.Request(file.url, headers=headers)  # noqa: S310 - see RemoteFile
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            return _receive(file, response, part, start, told)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _forget(part)  # it is longer than the file: begin again
            return _fetch_once(file, part, told)
        reason = _STATUS.get(error.code, "try again later, what is there is kept")
        raise DataError(f"{file.url}: HTTP {error.code} {error.reason}; {reason}") from error
    except (urllib.error.URLError, *_BROKEN) as error:
        raise _no_connection(file, error) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to where it sends, but not from https to what anybody can change."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """See urllib. Raises DataError."""
        if urlsplit(newurl).scheme not in {"https", urlsplit(req.full_url).scheme}:
            raise DataError(
                f"{req.full_url}: the server sends to {newurl}, which is not https; fetch the file "
                "by hand if you trust it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(
    file: RemoteFile, response: http.client.HTTPResponse, part: Path, start: int, told: Told
) -> bool:
    resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise DataError(f"{file.url}: the server sent another part than was asked for")
    start = start if resumed else 0
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    before = _read_version(part)
    if resumed and before and before.total not in (None, total):
        _forget(part)  # the file has changed: the two parts do not belong together
        return False
    expected = total or file.bytes
    if file.bytes and total not in (None, file.bytes):
        _forget(part)
        raise DataError(
            f"{file.url}: the server has {total} bytes, expected {file.bytes}. It may have a new "
            "version, or show a page instead of the file: see the home page"
        )
    _refuse_full_disk(part, (expected or file.about_bytes or 0) - start)
    with open(part, "ab" if resumed else "wb") as output:
        _write_version(part, response, total)
        for chunk in _chunks(response):
            if chunk is None:
                return False
            output.write(chunk)
            start += len(chunk)
            told(start, expected)
            if expected and start > expected:
                raise DataError(f"{file.url}: the server sends more than {expected} bytes")
    return total in (None, start)


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes | None]:
    """The bytes as they come; None at the end if the connection broke off."""
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            yield chunk
    except _BROKEN:
        yield None


def _no_connection(file: RemoteFile, error: Exception) -> DataError:
    reason = getattr(error, "reason", None) or error or type(error).__name__
    return DataError(
        f"{file.url}: no connection ({reason}). Check the network and a proxy (HTTPS_PROXY); the "
        "same command goes on where it stopped. Or fetch the file elsewhere and put it where it "
        f"belongs, as {file.path}"
    )


def _verify(file: RemoteFile, path: Path, sentence: str) -> None:
    size = path.stat().st_size
    if file.bytes and size != file.bytes:
        raise DataError(f"{sentence}: found {size} bytes, expected {file.bytes}")
    for name in ("sha256", "md5"):
        expected = getattr(file, name)
        if expected is None:
            continue
        with open(path, "rb") as handle:
            found = hashlib.file_digest(handle, name).hexdigest()
        if found != expected:
            raise DataError(f"{sentence}: its {name} is {found}, expected {expected}")


def _refuse_full_disk(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed} more bytes are needed and {free} are free")


def _disk_error(error: OSError, part: Path) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"{part}: the disk is full ({error.strerror}). Make room, or choose another --out; the "
            "same command goes on where it stopped"
        )
    return DataError(f"{part}: cannot be written ({error})")


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _read_version(part: Path) -> Version | None:
    """Which version of the file the part is of; None if nobody knows."""
    try:
        return Version(**json.loads(_version_file(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_version(part: Path, response: http.client.HTTPResponse, total: int | None) -> None:
    tag = response.headers.get("ETag", "")
    # A weak tag does not promise the same bytes.
    tag = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    _version_file(part).write_text(json.dumps({"tag": tag, "total": total}), encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
