"""From a file or its bytes to the root element of a score-partwise document."""

import codecs
import io
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from clamp3.errors import FormatError

# A symphony's MusicXML is some 50 MB and deflates to a thirtieth; nothing but tags, to 1:100.
MAX_DOCUMENT_BYTES = 256 * 2**20
MAX_COMPRESSION_RATIO = 300

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_CONTAINER = "META-INF/container.xml"
_SCORE_SUFFIXES = (".musicxml", ".xml")
_DECLARED_ENCODING = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["'][^>]*?\?>""")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*?\?>")
_ENTITY = re.compile(r"<!ENTITY", re.IGNORECASE)
_ROOT = re.compile(r"<(?![?!])")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_document(source: Path | bytes) -> ElementTree.Element:
    """The root element of the score in a .mxl archive or a plain XML file.

    Comments and processing instructions are gone; the DOCTYPE is never followed.
    Raises FormatError for anything that is not one readable MusicXML document.
    """
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    if data.startswith(_ZIP_MAGICS):
        data = _score_member(data)
    return _parse(_decode(data))


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise FormatError("too_large", f"the file is larger than {MAX_DOCUMENT_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot be read: {error}") from error


def _score_member(data: bytes) -> bytes:
    """The bytes of the score inside a compressed MusicXML archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_member(archive, _score_name(archive))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FormatError("corrupt_zip", f"damaged .mxl archive: {error}") from error
    except (OSError, RuntimeError, ValueError, KeyError, OverflowError) as error:
        # RuntimeError: encrypted member; ValueError and OSError: nonsense offsets and names.
        raise FormatError("corrupt_zip", f"the .mxl archive cannot be read: {error}") from error


def _score_name(archive: zipfile.ZipFile) -> str:
    """The member that container.xml names, else the first that looks like a score."""
    names = archive.namelist()
    if _CONTAINER in names:
        named = _root_file(_read_member(archive, _CONTAINER))
        if named in names:
            return named
    for name in names:
        path = PurePosixPath(name)
        hidden = path.parts[:1] in (("META-INF",), ("__MACOSX",)) or path.name.startswith(".")
        if not hidden and name.lower().endswith(_SCORE_SUFFIXES):
            return name
    found = ", ".join(names[:5]) or "nothing"
    raise FormatError("no_score_in_archive", f"the .mxl archive holds no score; it holds {found}")


def _root_file(container: bytes) -> str | None:
    """The first MusicXML path in container.xml; None if it cannot be told."""
    try:
        root = _parse(_decode(container))
    except FormatError:
        return None
    for element in root.iter():
        kind = element.get("media-type", "")
        if element.tag.rpartition("}")[2] == "rootfile" and ("xml" in kind or not kind):
            return element.get("full-path")
    return None


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, refused before unpacking if it would swell beyond all reason."""
    info = archive.getinfo(name)
    swollen = info.file_size > MAX_COMPRESSION_RATIO * max(info.compress_size, 1024)
    if info.file_size > MAX_DOCUMENT_BYTES or swollen:
        raise FormatError(
            "too_large",
            f"{name} would unpack to {info.file_size} bytes from {info.compress_size}",
        )
    with archive.open(info) as member:
        data = member.read(info.file_size + 1)
    return data[: info.file_size]


def _decode(data: bytes) -> str:
    """The text of an XML document whatever its byte order mark or declaration claims.

    A byte order mark wins, then zero bytes (UTF-16), then the declaration, then UTF-8 and
    Latin-1: exporters often write one encoding and declare another.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decode_as(data[len(mark) :], encoding)
    head = data[:4]
    if b"\0" in head:
        return _decode_as(data, "utf-16-le" if head[1:2] == b"\0" else "utf-16-be")
    return _decode_declared(data)


def _decode_as(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError("bad_encoding", f"not {encoding} text: {error.reason}") from error


def _decode_declared(data: bytes) -> str:
    declared = _DECLARED_ENCODING.search(data[:400].decode("latin-1"))
    names = ([declared.group(1)] if declared else []) + ["utf-8", "cp1252", "latin-1"]
    for name in names:
        if name.lower().replace("_", "-").startswith(("utf-16", "utf-32", "ucs")):
            continue  # the bytes are not: one byte a character, seen above
        try:
            return data.decode(name)
        except (UnicodeError, LookupError, ValueError):
            continue
    raise FormatError("bad_encoding", "the text is in no known encoding")


def _parse(text: str) -> ElementTree.Element:
    """The element tree of a document without entity definitions."""
    text = _DECLARATION.sub("", text, count=1)
    root = _ROOT.search(text)
    if root is None:
        raise FormatError("malformed_xml", "not XML: no element at all")
    if _ENTITY.search(text, 0, root.start()):
        raise FormatError("unsafe_xml", "the document defines entities of its own")
    try:
        return ElementTree.fromstring(text.strip())
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise FormatError("malformed_xml", f"not well-formed XML: {error}") from error
