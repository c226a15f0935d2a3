"""The tokenizer: the recorded ids, training that repeats, saving and loading."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from formula import read_json

from clamp3.errors import CheckpointError, ConfigError, DataError
from clamp3.models.tokenizer import (
    encode_texts,
    join_lines,
    load_tokenizer,
    save_tokenizer,
    tokenizer_json,
    train_tokenizer,
)

TEXTS = [
    "a calm waltz in C major for piano",
    "the violin plays sad chords over a walking bass",
    "ein ruhiges Lied für Klavier",
    "une valse calme en do majeur",
    "тихий вальс для фортепиано",
]


@pytest.fixture(scope="module")
def trained():
    return train_tokenizer(TEXTS, 200)


def test_lines_are_joined_once_each_in_their_order():
    assert join_lines("b\na\n\nb\nc\n") == "b</s>a</s>c"
    assert join_lines("one line") == "one line"
    assert join_lines("") == ""
    assert join_lines("\n \n") == " "  # a line of spaces is a line, as for the originals
    assert join_lines("a\r\nb") == "a\r</s>b"


def test_recorded_texts_have_the_recorded_ids(goldens):
    tokenizer = load_tokenizer(goldens / "models" / "tokenizer")
    for case in read_json(goldens / "models" / "tokenizer_cases.json"):
        assert tokenizer(case["text"])["input_ids"] == case["ids"], case["text"]


@pytest.mark.parametrize("letter", ["A", "B"])
def test_recorded_pieces_of_text_have_the_recorded_ids(goldens, letter):
    tokenizer = load_tokenizer(goldens / "models" / "tokenizer")
    content = read_json(goldens / "models" / f"extract_{letter}_inputs.json")
    for name, ids in content["token_ids_all"].items():
        assert encode_texts(tokenizer, [content["inputs"][name]]) == [ids], name


def test_ids_are_those_of_xlm_r(trained):
    assert trained.convert_ids_to_tokens([0, 1, 2, 3]) == ["<s>", "<pad>", "</s>", "<unk>"]
    assert trained.mask_token_id == len(trained) - 1
    assert (trained.bos_token_id, trained.pad_token_id, trained.eos_token_id) == (0, 1, 2)
    assert (trained.cls_token_id, trained.sep_token_id, trained.unk_token_id) == (0, 2, 3)


def test_texts_become_ids_between_s_and_s(trained):
    ids = encode_texts(trained, ["a calm waltz\n\nfor piano\na calm waltz", "", "sad   chords "])
    assert [(row[0], row[-1]) for row in ids] == [(0, 2)] * 3
    assert ids[0].count(2) == 2  # the separator of two lines, and the end
    assert ids[1] == [0, 2]
    assert trained.decode(ids[2], skip_special_tokens=True) == "sad chords"
    assert encode_texts(trained, []) == []


def test_what_training_saw_is_spelled_without_unknowns(trained):
    for ids, text in zip(encode_texts(trained, TEXTS), TEXTS, strict=True):
        assert 3 not in ids
        assert trained.decode(ids, skip_special_tokens=True) == text
    assert 3 in encode_texts(trained, ["漢字"])[0]


def test_long_texts_are_not_cut(trained):
    assert len(encode_texts(trained, ["waltz " * 2000])[0]) > 2000


def test_common_words_become_single_tokens():
    tokenizer = train_tokenizer(["waltz"] * 50 + TEXTS, 200)
    assert tokenizer.tokenize("waltz") == ["▁waltz"]


def test_characters_are_unified_as_in_xlm_r(trained):
    assert encode_texts(trained, ["ｗａｌｔｚ\tin\u00a0C"]) == encode_texts(trained, ["waltz in C"])


def test_an_alphabet_larger_than_the_vocabulary_keeps_the_common_characters():
    tokenizer = train_tokenizer(["aaaa bbbb cccc dddd e f g h i j k l m n"], 12)
    assert len(tokenizer) <= 12
    assert 3 not in encode_texts(tokenizer, ["a b c d e f"])[0]
    for rare in "ghijklmn":
        assert 3 in encode_texts(tokenizer, [rare])[0]


def test_a_small_corpus_gives_a_small_vocabulary():
    tokenizer = train_tokenizer(["a"], 5000)
    assert len(tokenizer) < 10
    assert encode_texts(tokenizer, ["a"]) == [[0, tokenizer.convert_tokens_to_ids("▁a"), 2]]


@pytest.mark.parametrize("texts", [[], [""], ["", "   ", "\n"]])
def test_nothing_to_learn_from_is_refused(texts):
    with pytest.raises(DataError, match="all texts are empty"):
        train_tokenizer(texts, 100)


def test_a_vocabulary_without_room_is_refused():
    with pytest.raises(ConfigError, match="vocabulary_size 5: five tokens are special"):
        train_tokenizer(TEXTS, 5)


TRAIN = """
import hashlib, random, sys
from clamp3.models.tokenizer import tokenizer_json, train_tokenizer
draw = random.Random(1)
words = ["".join(draw.choice("abcdefgäöü") for _ in range(draw.randint(1, 9))) for _ in range(400)]
texts = [" ".join(draw.choice(words) for _ in range(30)) for _ in range(300)]
print(hashlib.sha256(tokenizer_json(train_tokenizer(texts, 600)).encode()).hexdigest())
"""


def test_training_gives_the_same_bytes_in_every_process():
    def digest(**environment):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert digest(PYTHONHASHSEED="1") == digest(PYTHONHASHSEED="2", RAYON_NUM_THREADS="1")


def test_saved_and_loaded_it_is_the_same(trained, tmp_path):
    save_tokenizer(trained, tmp_path / "one")
    loaded = load_tokenizer(tmp_path / "one")
    save_tokenizer(loaded, tmp_path / "two")
    assert encode_texts(loaded, TEXTS) == encode_texts(trained, TEXTS)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_use_does_not_change_what_is_saved(trained, tmp_path):
    save_tokenizer(trained, tmp_path / "one")
    before = hashlib.sha256(tokenizer_json(trained).encode()).hexdigest()
    trained(TEXTS, padding="max_length", truncation=True, max_length=4)
    assert hashlib.sha256(tokenizer_json(trained).encode()).hexdigest() == before
    assert encode_texts(trained, TEXTS) == encode_texts(load_tokenizer(tmp_path / "one"), TEXTS)


def test_transformers_reads_the_folder(trained, tmp_path):
    from transformers import AutoTokenizer

    save_tokenizer(trained, tmp_path)
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert other(TEXTS)["input_ids"] == trained(TEXTS)["input_ids"]
    assert other.mask_token_id == trained.mask_token_id


def test_faulty_folders_are_named(trained, tmp_path):
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: no such file"):
        load_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        load_tokenizer(tmp_path)
    content = json.loads(tokenizer_json(trained))
    for token in content["added_tokens"]:
        token["content"] = {"<pad>": "[PAD]"}.get(token["content"], token["content"])
    content["model"]["vocab"]["[PAD]"] = content["model"]["vocab"].pop("<pad>")
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="'<pad>': None"):
        load_tokenizer(tmp_path)
