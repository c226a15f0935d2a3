"""The parts of the summaries: languages, prompt, replies, language check, ledger, templates."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from samples import put

from clamp3.data.summaries import prompt
from clamp3.data.summaries.detection import language_fault
from clamp3.data.summaries.languages import (
    ENGLISH,
    all_languages,
    choose_language,
    find_language,
    other_languages,
    weigh_languages,
)
from clamp3.data.summaries.ledger import Cost, Ledger, Reply, question_key
from clamp3.data.summaries.pieces import read_pieces
from clamp3.data.summaries.reply import MAX_CHARACTERS, read_reply
from clamp3.data.summaries.templates import template_languages, write_summaries
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.files import write_table

# --- languages ---


def test_101_languages_with_names_and_codes():
    assert len(all_languages()) == 101
    assert len({language.name for language in all_languages()}) == 101
    assert len({language.code for language in all_languages()}) == 101
    assert all_languages()[0].name == "English"
    assert find_language("chinese (TRADITIONAL)").code == "zh-Hant"
    assert find_language("no").name == "Norwegian"


def test_a_piece_keeps_its_language_and_all_are_as_likely():
    weights = weigh_languages({})
    ids = [f"p/{number}" for number in range(20_000)]
    first = [choose_language(name, 1, weights) for name in ids]
    assert first == [choose_language(name, 1, weights) for name in ids]
    counts = Counter(first)
    assert set(counts) == set(other_languages())
    assert all(130 < count < 270 for count in counts.values())
    other = [choose_language(name, 2, weights) for name in ids]
    assert sum(one == two for one, two in zip(first, other, strict=True)) < 400


def test_weights():
    weights = weigh_languages({"de": 3, "French": 1})
    counts = Counter(choose_language(f"p/{n}", 0, weights).code for n in range(4000))
    assert set(counts) == {"de", "fr"}
    assert abs(counts["de"] / 4000 - 0.75) < 0.03
    with pytest.raises(ConfigError, match="'Klingon' is no language"):
        weigh_languages({"Klingon": 1})
    with pytest.raises(ConfigError, match="'English' is no language"):
        weigh_languages({"English": 1})


# --- prompt ---


def test_metadata_lose_what_is_empty_or_hidden():
    record = {"id": "x", "filepaths": ["a.abc"], "summary_en": "old", "composer": None}
    record |= {"title": " A\u200b\x07 b ", "tags": ["", "t", None], "year": 1850}
    shown = prompt.clean_metadata(record | {"lyrics": "one\ntwo"}, 1000)
    assert shown == {"title": "A   b", "tags": ["t"], "year": 1850, "lyrics": "one\ntwo"}


@pytest.mark.parametrize("most", [0, 30, 100, 1000])
def test_long_metadata_are_cut_the_longest_first(most):
    record = {"lyrics": "la " * 1000, "title": "Short", "tags": ["tag"] * 500}
    shown = prompt.clean_metadata(record, most)
    assert len("".join(map(str, shown.values()))) <= most
    assert ("title" in shown) == (most > 0)
    assert list(shown) == [key for key in record if key in shown]


# --- replies ---

GERMAN = "Eine lebhafte Tanzmelodie für die Geige, die vor langer Zeit in Irland entstand."
GOOD = {
    "enough_information": True,
    "summary_en": "A lively dance tune for the fiddle, written down in Ireland long ago.",
    "language": "German",
    "summary": GERMAN,
}


def kind_of(text, refusal=None):
    with pytest.raises(FormatError) as told:
        read_reply(text, refusal, find_language("de"))
    return told.value.kind


@pytest.mark.parametrize("indent", [None, 1])
def test_a_usable_reply(indent):
    text = json.dumps(GOOD, indent=indent)
    for around in ("{}", "Sure!\n{}\n", "```json\n{}\n```\nAnything else?", "<think>{{</think>{}"):
        found = read_reply(around.format(text), None, find_language("de"))
        assert (found.english, found.other) == (GOOD["summary_en"], GERMAN)


def test_a_reply_of_two_objects_is_none():
    text = json.dumps(GOOD)
    for twice in (f"{text}\n{text}", f"{{}}{text}", f"{text[:-1]}, {text}}}"):
        with pytest.raises(FormatError, match="Invalid JSON"):
            read_reply(twice, None, find_language("de"))


def test_a_reply_hides_nothing_but_keeps_what_scripts_need():
    persian = "این یک ملودی رقص شاد برای ویولن است که سال‌ها پیش در ایرلند نوشته شده است."
    assert "\u200c" in persian
    hidden = f"\u202e{persian}\u2066\U000e0041\ufeff\x00"
    text = json.dumps(GOOD | {"language": "Persian", "summary": hidden})
    assert read_reply(text, None, find_language("fa")).other == persian


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"enough_information": False}, "too_little"),
        ({"summary": " "}, "bad_reply"),
        ({"summary": None}, "bad_reply"),
        ({"more": 1}, "bad_reply"),
        ({"enough_information": "yes"}, "bad_reply"),
        ({"summary": "ä" * (MAX_CHARACTERS + 1)}, "bad_reply"),
        ({"language": "French"}, "wrong_language"),
        ({"summary": GOOD["summary_en"]}, "wrong_language"),
        ({"summary_en": GERMAN}, "wrong_language"),
        ({"summary_en": prompt.task_sentences()[2]}, "leak"),
    ],
)
def test_unusable_replies(changes, kind):
    assert kind_of(json.dumps(GOOD | changes)) == kind


@pytest.mark.parametrize("text", [None, "", "None", "[]", json.dumps(GOOD)[:-20], "{" * 9999])
def test_replies_that_are_no_json_object(text):
    assert kind_of(text) == "bad_reply"


def test_a_refusal_of_the_server():
    assert kind_of(None, "I will not.") == "refused"


# --- language check ---

SENTENCES = {
    "English": "A lively dance tune for violin, written down in Ireland a long time ago.",
    "German": "Eine lebhafte Tanzmelodie für Geige, vor langer Zeit in Irland aufgeschrieben.",
    "French": "Un air de danse enlevé pour violon, noté en Irlande il y a très longtemps.",
    "Spanish": "Una melodía de baile alegre para violín, escrita en Irlanda hace mucho tiempo.",
    "Italian": "Una vivace melodia da ballo per violino, annotata in Irlanda molto tempo fa.",
    "Dutch": "Een levendige dansmelodie voor viool, lang geleden in Ierland opgeschreven.",
    "Portuguese": "Uma melodia de dança animada para violino, escrita na Irlanda há muito tempo.",
    "Swedish": "En livlig dansmelodi för fiol, nedtecknad på Irland för länge sedan.",
    "Norwegian": "En livlig dansemelodi for fiolin, skrevet ned i Irland for lenge siden.",
    "Danish": "En livlig dansemelodi for violin, skrevet ned i Irland for længe siden.",
    "Polish": "Żywa melodia taneczna na skrzypce, spisana w Irlandii dawno temu.",
    "Czech": "Živá taneční melodie pro housle, zapsaná v Irsku před dávnou dobou.",
    "Hungarian": "Élénk táncdallam hegedűre, amelyet régen jegyeztek le Írországban.",
    "Finnish": "Vilkas tanssisävelmä viululle, joka kirjoitettiin Irlannissa kauan sitten.",
    "Turkish": "Keman için canlı bir dans ezgisi, uzun zaman önce İrlanda'da yazıya geçirildi.",
    "Russian": "Живая танцевальная мелодия для скрипки, записанная в Ирландии давным-давно.",
    "Ukrainian": "Жвава танцювальна мелодія для скрипки, записана в Ірландії дуже давно.",
    "Greek": "Μια ζωηρή χορευτική μελωδία για βιολί, γραμμένη στην Ιρλανδία πριν από πολύ καιρό.",
    "Hebrew": "מנגינת ריקוד תוססת לכינור, שנכתבה באירלנד לפני זמן רב.",
    "Arabic": "لحن راقص حيوي للكمان كُتب في أيرلندا منذ زمن بعيد.",
    "Hindi": "वायलिन के लिए एक जीवंत नृत्य धुन, जो बहुत पहले आयरलैंड में लिखी गई थी।",
    "Japanese": "ずっと昔にアイルランドで書き留められた、バイオリンのための活気ある舞曲。",
    "Korean": "오래전 아일랜드에서 기록된 바이올린을 위한 활기찬 춤곡입니다.",
    "Chinese (Simplified)": "这是一首很久以前在爱尔兰记录下来的活泼的小提琴舞曲。",
    "Chinese (Traditional)": "這是一首很久以前在愛爾蘭記錄下來的活潑的小提琴舞曲。",
    "Vietnamese": "Một giai điệu khiêu vũ sôi động cho đàn vĩ cầm, được ghi lại ở Ireland từ lâu.",
    "Indonesian": "Lagu tarian yang meriah untuk biola, ditulis di Irlandia sejak lama sekali.",
    "Hindi (Romanized)": "Vaayalin ke liye ek jeevant nritya dhun, jo bahut pahle likhi gayi thi.",
}
RELATIVES = {"Swedish", "Norwegian", "Danish"}  # too close to demand more


def language(name):
    return ENGLISH if name == "English" else find_language(name)


@pytest.mark.parametrize("name", SENTENCES)
def test_a_text_passes_in_its_own_language_and_in_no_other(name):
    assert language_fault(SENTENCES[name], language(name)) is None
    for other in SENTENCES:
        related = {name, other} <= RELATIVES
        # Of a language that the identifier does not know, only English can be told apart.
        if other == name or related or language(other).label is None:
            continue
        assert language_fault(SENTENCES[name], language(other)), other


def test_english_is_no_reply_in_any_other_language():
    text = SENTENCES["English"] + " People have danced to it at fairs and weddings."
    assert [each.name for each in other_languages() if not language_fault(text, each)] == []


def test_quoted_titles_do_not_count():
    title = "“The Boys of Ballinchalla and the Girls of Tulla Went Dancing”"
    assert language_fault(f"{title}: {SENTENCES['Russian']}", language("Russian")) is None
    assert language_fault("»?« 1", language("Russian")) is None


# --- the ledger ---

REPLY = Reply("text", None, "stop", 10, 5)


def key(**changes):
    parts = {"model": "m", "prompt_version": 1, "schema": "s", "metadata": {"a": 1}}
    return question_key(**parts | {"language": "German"} | changes)


def test_every_part_makes_the_key():
    changes = [{}, {"model": "n"}, {"prompt_version": 2}, {"schema": "t"}, {"language": "French"}]
    assert len({key(**each) for each in [*changes, {"metadata": {"a": 2}}]}) == 6
    assert key() == key()


def filled(path):
    with Ledger(path) as ledger:
        ledger.end(ledger.begin("k", Cost(100, 1.0)), "k", Cost(15, 0.5), reply=REPLY)
        ledger.begin("open", Cost(100, 1.0))
    return path.read_bytes()


def test_a_ledger_cut_anywhere_keeps_its_whole_lines(tmp_path):
    path = tmp_path / "ledger.jsonl"
    content = filled(path)
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = sum(end <= size for end in ends)
        with Ledger(path, read_only=True) as looked, Ledger(path) as ledger:
            assert ledger.spent == looked.spent
            assert ledger.spent.tokens == [0, 100, 15, 115][whole]
            assert ledger.replies.get("k", []) == ([REPLY] if whole >= 2 else [])
            ledger.begin("next", Cost(1, 0.0))
        with Ledger(path) as again:
            assert "next" in again.asked
            assert again.spent.tokens == [0, 100, 15, 115][whole] + 1


def test_a_damaged_ledger_is_told(tmp_path):
    path = tmp_path / "ledger.jsonl"
    content = filled(path)
    for damaged in (b"nonsense\n" + content, b"[]\n" + content, content.replace(b"money", b"")):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"ledger.jsonl, line 1: no line of a ledger"):
            Ledger(path)


# --- templates ---

LINE = {
    "title": "The Otter's Holt",
    "composer": "Junior Crehan",
    "genres": ["folk"],
    "tags": ["reel", "bminor"],
    "instruments": ["Violin", "Tin Whistle"],
    "analysis": "Written in 2/2 time, this is a reel in B minor. It is 16 bars long.",
}


@pytest.mark.parametrize("each", template_languages(), ids=lambda each: each.code)
def test_templates_say_the_same_in_both_languages(each):
    for number in range(40):
        found = write_summaries(f"p/{number}", LINE, each)
        assert found == write_summaries(f"p/{number}", LINE, each)
        assert language_fault(found.english, ENGLISH) is None
        assert language_fault(found.other, each) is None
        for text in (found.english, found.other):
            assert all(word in text for word in ("The Otter's Holt", "Junior Crehan", "2/2", "16"))
    assert len({write_summaries(f"p/{n}", LINE, each).other for n in range(40)}) > 20


@pytest.mark.parametrize(
    ("analysis", "names"),
    [
        ("In B minor.", "h-Moll|si mineur|si menor|si minore|b klein"),
        ("In B flat major.", "B-Dur|si bémol majeur|si bemol mayor|si bemolle maggiore|Bes groot"),
        ("In F# minor.", "fis-Moll|fa dièse mineur|fa sostenido menor|fa diesis minore|fis klein"),
        ("In Eb major.", "Es-Dur|mi bémol majeur|mi bemol mayor|mi bemolle maggiore|Es groot"),
        ("In A-flat major.", "As-Dur|la bémol majeur|la bemol mayor|la bemolle maggiore|As groot"),
        ("In D dorian.", "D-Dorisch|ré dorien|re dórico|re dorico|D dorisch"),
    ],
)
def test_keys_by_name(analysis, names):
    line = {"genres": ["folk"], "analysis": analysis}
    for code, name in zip(("de", "fr", "es", "it", "nl"), names.split("|"), strict=True):
        assert f" {name}" in write_summaries("p", line, find_language(code)).other


def test_terms_are_found_whole_and_longest_first():
    def german(**line):
        return write_summaries("p", {"genres": ["folk"], **line}, find_language("de")).other

    assert "Slip Jig" in german(tags=["slipjig"])
    assert "Altsaxophon" in german(instruments=["Alto Sax"])
    assert "Harfe." in german(instruments=["Orchestral Harp"])
    assert "Cembalo" in german(instruments=["Harpsichord"])
    assert "Walzer" in german(description="A song, that is a waltz, with reeling dancers.")


@pytest.mark.parametrize(
    "line", [{}, {"title": "Untitled"}, {"title": "Jig for violin in G major"}]
)
def test_templates_refuse_what_says_too_little(line):
    with pytest.raises(FormatError) as told:
        write_summaries("p", line, find_language("de"))
    assert told.value.kind == "too_little"


# --- sources ---


def test_pieces_of_all_sources(tmp_path):
    lines = [{"title": "A", "filepaths": ["x/a.abc"]}, {"title": "B"}, {"title": "C", "id": "c"}]
    texts = [json.dumps(line) for line in lines]
    (tmp_path / "a.jsonl").write_text("\n".join([*texts, "nonsense", texts[0]]))
    (tmp_path / "b.json").write_text("[" + ",".join([*texts, "5"]) + "]")
    (tmp_path / "c.json").write_text("\n".join(texts))
    folder = tmp_path / "folder"
    put(folder, "deep/one.json", texts[0])
    put(folder, "two.json", "\ufeff" + texts[1])
    put(folder, "bad.json", '{"title": "\\ud800"}')
    put(folder, "cut.json", texts[0][:-5])

    found = read_pieces(tmp_path / "a.jsonl")
    assert [piece.id for piece in found.found] == ["x/a", "line 2", "c", "x/a-2"]
    assert [row.id for row in found.rejected] == ["a.jsonl/line 4"]
    found = read_pieces(tmp_path / "b.json")
    assert len(found.found) == 3
    assert "JSON int, expected an object" in found.rejected[0].reason
    assert len(read_pieces(tmp_path / "c.json").found) == 3
    found = read_pieces(folder)
    pieces = [(piece.id, piece.file) for piece in found.found]
    assert pieces == [("deep/one", "deep/one.json"), ("two", "two.json")]
    assert [row.id for row in found.rejected] == ["bad.json", "cut.json"]


def test_sources_that_are_none(tmp_path):
    with pytest.raises(DataError, match="neither parts of a catalogue"):
        read_pieces(tmp_path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"expected \.parquet, \.json, \.jsonl"):
        read_pieces(tmp_path / "x.txt")
    write_table(tmp_path / "part-0.parquet", pa.table({"other": ["a"]}))
    with pytest.raises(DataError, match="columns other; expected a part of the catalogue"):
        read_pieces(tmp_path)
