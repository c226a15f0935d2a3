"""From a file or its bytes to the root element of a score-partwise document."""

import codecs
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from clamp3.errors import FormatError
from clamp3.formats.limits import DEFAULT_LIMITS, Limits, read_bytes

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_CONTAINER = "META-INF/container.xml"
_SCORE_SUFFIXES = (".musicxml", ".xml")
_DECLARED_ENCODING = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["'][^>]*?\?>""")
_BEFORE_ROOT = re.compile(r"(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
# What is not closed reaches to the end, so that nothing is looked through twice.
_DOCTYPE_TOKEN = re.compile(
    r"""<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|"[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|<!ENTITY|[\[\]>]""",
    re.DOTALL | re.IGNORECASE,
)
_FED_CHARACTERS = 2**16  # to the parser at once; later a share of what it has got
# Deflated or stored, as MusicXML demands; other methods need modules that Python may lack.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Wide ones, and ways to write names or Python, some of which take for ever.
_UNFIT_ENCODINGS = ("utf-16", "utf-32", "idna", "punycode", "unicode", "raw-unicode")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_document(source: Path | bytes, limits: Limits = DEFAULT_LIMITS) -> ElementTree.Element:
    """The root element of the score in a .mxl archive or a plain XML file.

    Comments, processing instructions and the DOCTYPE are gone: the parser never sees a definition,
    so nothing is expanded and nothing is fetched.
    Raises FormatError for anything that is not one readable MusicXML document.
    """
    data = read_bytes(source, limits.max_document_bytes)
    if not data or data.isspace():
        raise FormatError("empty_file", "the file is empty")
    if data.startswith(_ZIP_MAGICS):
        data = _score_member(data, limits)
    text = _decode(data)
    del data
    return _parse(text, limits)


def _score_member(data: bytes, limits: Limits) -> bytes:
    """The bytes of the score inside a compressed MusicXML archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_member(archive, _score_name(archive, limits), limits)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError) as error:
        raise FormatError("corrupt_zip", f"damaged .mxl archive: {error}") from error
    except (OSError, RuntimeError, ValueError, KeyError, OverflowError) as error:
        # RuntimeError: encrypted member; ValueError and OSError: nonsense offsets and names.
        raise FormatError("corrupt_zip", f"the .mxl archive cannot be read: {error}") from error


def _score_name(archive: zipfile.ZipFile, limits: Limits) -> str:
    """The member that container.xml names, else the first that looks like a score.

    Some programs part folders by backslashes, in the archive, in container.xml or in both.
    """
    names = {_slashed(name): name for name in archive.namelist()}
    if _CONTAINER in names:
        named = _root_file(_read_member(archive, names[_CONTAINER], limits), limits)
        if named and _slashed(named) in names:
            return names[_slashed(named)]
    for plain, name in names.items():
        path = PurePosixPath(plain)
        hidden = path.parts[:1] in (("META-INF",), ("__MACOSX",)) or path.name.startswith(".")
        if not hidden and name.lower().endswith(_SCORE_SUFFIXES):
            return name
    found = ", ".join(list(names)[:5]) or "nothing"
    raise FormatError("no_score_in_archive", f"the .mxl archive holds no score; it holds {found}")


def _slashed(name: str) -> str:
    return name.replace("\\", "/").lstrip("/")


def _root_file(container: bytes, limits: Limits) -> str | None:
    """The first MusicXML path in container.xml; None if it cannot be told."""
    try:
        root = _parse(_decode(container), limits)
    except FormatError:
        return None
    for element in root.iter():
        kind = element.get("media-type", "")
        if element.tag.rpartition("}")[2] == "rootfile" and ("xml" in kind or not kind):
            return element.get("full-path")
    return None


def _read_member(archive: zipfile.ZipFile, name: str, limits: Limits) -> bytes:
    """A member's bytes, refused before unpacking if it would swell beyond all reason."""
    info = archive.getinfo(name)
    if info.compress_type not in _ZIP_METHODS:
        raise FormatError("corrupt_zip", f"{name} is packed by method {info.compress_type}, not 8")
    swollen = info.file_size > limits.max_compression_ratio * max(info.compress_size, 1024)
    if info.file_size > limits.max_document_bytes or swollen:
        raise FormatError(
            "too_large",
            f"{name} would unpack to {info.file_size} bytes from {info.compress_size}; expected at "
            f"most {limits.max_document_bytes}, and {limits.max_compression_ratio} for one",
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
        try:
            # The bytes are not UTF-16 or the like: that was seen above.
            if not codecs.lookup(name).name.startswith(_UNFIT_ENCODINGS):
                return data.decode(name)
        except (UnicodeError, LookupError, ValueError):
            continue
    raise FormatError("bad_encoding", "the text is in no known encoding")


def _parse(text: str, limits: Limits) -> ElementTree.Element:
    """The element tree of a document without its DOCTYPE."""
    # It expands nothing, as no definition reaches it.
    parser = ElementTree.XMLParser()  # noqa: S314 - see above
    tags = 0
    try:
        for piece in _pieces(text, _root_start(text)):
            tags += piece.count("<") + piece.count("=")
            if tags > limits.max_tags:
                raise FormatError("too_large", f"more than {limits.max_tags} tags and attributes")
            parser.feed(piece)
        return parser.close()
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise FormatError("malformed_xml", f"not well-formed XML: {error}") from error


def _pieces(text: str, start: int) -> Iterator[str]:
    """The text in parts that grow: the parser looks through a tag again from its beginning with
    each part, and in small ones would never come to the end of a long attribute."""
    first = start
    while start < len(text):
        size = max(_FED_CHARACTERS, (start - first) // 4)
        yield text[start : start + size]
        start += size


def _root_start(text: str) -> int:
    """Where the document goes on after declaration, comments and DOCTYPE.

    Raises FormatError: `unsafe_xml` where the DOCTYPE defines entities.
    """
    start = _BEFORE_ROOT.match(text).end()
    while text[start : start + 9].upper() == "<!DOCTYPE":
        start = _BEFORE_ROOT.match(text, _doctype_end(text, start)).end()
    return start


def _doctype_end(text: str, start: int) -> int:
    depth = 0
    for token in _DOCTYPE_TOKEN.finditer(text, start):
        sign = token[0]
        if sign.upper() == "<!ENTITY":
            raise FormatError("unsafe_xml", "the document defines entities of its own")
        depth += (sign == "[") - (sign == "]")
        if sign == ">" and depth <= 0:
            return token.end()
    raise FormatError("malformed_xml", "the DOCTYPE does not end")


def to_partwise(root: Element, limits: Limits) -> Element:
    """A score-partwise root with the same music; namespaces are dropped.

    Raises FormatError (not_musicxml) for any other document, and too_large.
    """
    if root.tag.startswith("{"):
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    if root.tag == "score-partwise":
        return root
    if root.tag != "score-timewise":
        expected = "expected <score-partwise> or <score-timewise>"
        raise FormatError("not_musicxml", f"not MusicXML: it is <{root.tag[:40]}>, {expected}")
    return _transposed(root, limits)


def _transposed(root: Element, limits: Limits) -> Element:
    """Measures of parts as parts of measures; a part that misses a measure gets an empty one."""
    partwise = Element("score-partwise")
    measures = root.findall("measure")
    partwise.extend(child for child in root if child.tag != "measure")
    by_measure = [
        {part.get("id", ""): part for part in reversed(measure.findall("part"))}
        for measure in measures
    ]
    identities = dict.fromkeys(
        part.get("id", "") for measure in measures for part in measure.findall("part")
    )
    if len(identities) * len(measures) > limits.max_voice_events:
        raise FormatError("too_large", f"{len(identities)} parts of {len(measures)} measures each")
    for identity in identities:
        whole = SubElement(partwise, "part", id=identity)
        for measure, parts in zip(measures, by_measure, strict=True):
            SubElement(whole, "measure", measure.attrib).extend(parts.get(identity, ()))
    return partwise
