"""Archives, encodings and damaged documents."""

import io
import time
import zipfile

import pytest
from refusals import refused

from clamp3.errors import FormatError
from clamp3.formats.limits import Limits
from clamp3.formats.musicxml import musicxml_to_abc

NOTE = (
    "<note><pitch><step>{step}</step><octave>4</octave></pitch>"
    "<duration>1</duration><voice>1</voice></note>"
)
SCORE = (
    '<score-partwise><work><work-title>{title}</work-title></work><part id="P1">'
    "<measure>" + NOTE + "</measure></part></score-partwise>"
)
CONTAINER = (
    '<container><rootfiles><rootfile full-path="{path}" '
    'media-type="application/vnd.recordare.musicxml+xml"/></rootfiles></container>'
)


def score(title: str = "Tune", step: str = "C") -> str:
    return SCORE.format(title=title, step=step)


def archive(**members: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def kind_of(source) -> str:
    with pytest.raises(FormatError) as caught:
        musicxml_to_abc(source)
    assert str(caught.value)
    return caught.value.kind


def test_path_and_bytes_give_the_same(tmp_path):
    path = tmp_path / "tune.musicxml"
    path.write_text(score())
    assert musicxml_to_abc(path) == musicxml_to_abc(path.read_bytes())


def test_container_names_the_score():
    data = archive(
        **{
            "first.xml": score(step="D"),
            "META-INF/container.xml": CONTAINER.format(path="music/second.musicxml"),
            "music/second.musicxml": score(step="E"),
        }
    )
    assert "\n E2 |" in musicxml_to_abc(data)


@pytest.mark.parametrize("path", ["music\\second.xml", "/music/second.xml"])
def test_container_with_other_slashes_names_the_score(path):
    for slash in "/\\":
        data = archive(
            **{
                f"META-INF{slash}container.xml": CONTAINER.format(path=path),
                "first.xml": score(step="D"),
                f"music{slash}second.xml": score(step="E"),
            }
        )
        assert "\n E2 |" in musicxml_to_abc(data)


@pytest.mark.parametrize("name", ["tune.xml", "tune.musicxml", "TUNE.XML", "a/b.musicxml"])
def test_without_container_the_first_score_is_taken(name):
    data = archive(**{"META-INF/x.xml": "<x/>", "__MACOSX/._t.xml": "?", name: score()})
    assert "\n C2 |" in musicxml_to_abc(data)


def test_container_that_names_nothing_there_is_passed_over():
    data = archive(
        **{"META-INF/container.xml": CONTAINER.format(path="gone.xml"), "tune.xml": score()}
    )
    assert "\n C2 |" in musicxml_to_abc(data)


def test_archive_without_score():
    assert kind_of(archive(**{"readme.txt": "no music"})) == "no_score_in_archive"


def test_truncated_archive():
    data = archive(**{"tune.xml": score()})
    assert kind_of(data[: len(data) // 2]) == "corrupt_zip"


def test_archive_with_damaged_member():
    data = bytearray(archive(**{"tune.xml": score() + " " * 500}))
    start = data.index(b"tune.xml") + len("tune.xml")
    data[start : start + 20] = bytes(20)
    assert kind_of(bytes(data)) in ("corrupt_zip", "malformed_xml")


def test_zip_bomb_is_refused_before_unpacking():
    assert kind_of(archive(**{"tune.xml": b" " * 30_000_000})) == "too_large"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_document_bytes=100), "bytes"),
        (Limits(max_compression_ratio=3), "unpack"),
        (Limits(max_tags=10), "10 tags and"),
        (Limits(max_voice_events=1), "events"),
    ],
    ids=["bytes", "ratio", "tags", "events"],
)
def test_limits(tmp_path, limits, words):
    text = score().replace("</part>", "<measure/>" + " " * 5000 + "</part>")
    assert musicxml_to_abc(text.encode()) == musicxml_to_abc(archive(**{"tune.xml": text}))
    path = tmp_path / "tune.mxl"
    path.write_bytes(archive(**{"tune.xml": text}))
    for source in (path, path.read_bytes()):
        with refused("too_large", words):
            musicxml_to_abc(source, limits=limits)


def test_missing_file(tmp_path):
    assert kind_of(tmp_path / "none.xml") == "unreadable_file"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_encodings(encoding):
    text = '<?xml version="1.0"?>' + score(title="Für Elise ♪")
    assert "T:Für Elise ♪" in musicxml_to_abc(text.encode(encoding))


@pytest.mark.parametrize(
    ("declared", "real"),
    [
        ("ISO-8859-1", "latin-1"),
        ("UTF-8", "latin-1"),
        ("UTF-16", "utf-8"),
        ("utf-8", "utf-16"),
        ("no-such-code", "utf-8"),
    ],
)
def test_declared_and_real_encoding(declared, real):
    text = f'<?xml version="1.0" encoding="{declared}"?>\n' + score(title="Für Elise")
    assert "T:Für Elise" in musicxml_to_abc(text.encode(real))


def test_doctype_is_ignored_but_entities_are_refused():
    doctype = (
        '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 3.1 Partwise//EN" '
        '"http://nowhere.invalid/partwise.dtd">'
    )
    assert "\n C2 |" in musicxml_to_abc((doctype + score()).encode())
    entities = '<!DOCTYPE score-partwise [<!ENTITY a "aaaaaaaaaa">]>'
    assert kind_of((entities + score(title="&a;&a;")).encode()) == "unsafe_xml"


LAUGHS = '<!ENTITY a "ha"><!ENTITY b "&a;&a;">'


@pytest.mark.parametrize(
    "prolog",
    [
        f"<!DOCTYPE score-partwise [{LAUGHS}]>",
        '<!DOCTYPE score-partwise [<!ENTITY b SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE score-partwise [<!ENTITY % p SYSTEM "http://nowhere.invalid/p"> %p;]>',
        f"<!-- <score-partwise> --><!DOCTYPE score-partwise [{LAUGHS}]>",
        f'<!DOCTYPE x "]>" [<!-- ]> -->{LAUGHS}]>',
        f"<!DOCTYPE x><!DOCTYPE score-partwise [{LAUGHS}]>",
        f"<?x <score-partwise> ?><!doctype x [{LAUGHS.lower()}]>",
    ],
)
def test_entities_are_refused_wherever_they_hide(prolog):
    assert kind_of((prolog + score(title="&b;")).encode()) == "unsafe_xml"


@pytest.mark.parametrize(
    "subset",
    [
        "<!ELEMENT note ANY>",
        "<!-- the <!ENTITY is only spoken of -->",
        "<?x <!ENTITY ?>",
        "<!NOTATION n SYSTEM '<!ENTITY'>",
        f'<!ATTLIST note x CDATA "{"9" * 99}]>">',
    ],
)
def test_a_harmless_doctype_is_passed_over(subset):
    doctype = f"<?xml version='1.0'?>\n<!-- > --><!DOCTYPE score-partwise [{subset}]>\n"
    assert musicxml_to_abc((doctype + score()).encode()) == musicxml_to_abc(score().encode())


@pytest.mark.parametrize("opening", ["<!--", "<?", '"', "<!DOCTYPE", "[", "<!DOCTYPE x ["])
def test_a_prolog_that_does_not_end_is_refused_soon(opening):
    start = time.process_time()
    assert kind_of(b"<!DOCTYPE x " + opening.encode() * 1_000_000) == "malformed_xml"
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", ["punycode", "idna", "unicode_escape", "U16", "rot13", "zlib"])
def test_declared_encodings_that_are_none_are_passed_over(name):
    text = f'<?xml version="1.0" encoding="{name}"?>' + score(title="Für Elise")
    assert "T:Für Elise" in musicxml_to_abc(text.encode())


def test_archives_of_other_methods_are_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("tune.xml", score())
    assert kind_of(buffer.getvalue()) == "corrupt_zip"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty_file"),
        (b" \r\n", "empty_file"),
        (b"just words", "malformed_xml"),
        (b"<score-partwise><part>", "malformed_xml"),
        (b"<score-partwise>&undefined;</score-partwise>", "malformed_xml"),
        (b"<html><body/></html>", "not_musicxml"),
        (b"<score-partwise/>", "no_parts"),
        (b'<score-partwise><part id="P1"/></score-partwise>', "no_notes"),
        (
            b'<score-partwise><part id="P1"><measure><note><rest/><duration>4</duration>'
            b"</note></measure></part></score-partwise>",
            "no_notes",
        ),
        (b"\xff\xfe<\x00a", "bad_encoding"),
    ],
)
def test_faults_have_names(data, kind):
    assert kind_of(data) == kind


def test_garbage_collection_is_left_as_it_was():
    import gc

    assert gc.isenabled()
    kind_of(b"")
    assert gc.isenabled()
