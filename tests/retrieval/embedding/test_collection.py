"""Tables of embeddings: what is in them, what they say of themselves, what failed."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from repository import ROOT
from retrieval.workplace import Workplace, score

from clamp3.config import EmbedConfig, load_params
from clamp3.data.rejected import read_rejected
from clamp3.errors import CheckpointError, DataError
from clamp3.files import write_jsonl
from clamp3.models.checkpoints import LoadedClamp, load_clamp
from clamp3.models.lora import add_lora, save_adapter
from clamp3.retrieval.embedding.collection import embed_model
from clamp3.retrieval.embedding.segments import embed_pieces
from clamp3.retrieval.vectors import Origin, Vectors, manifest_name, read_vectors, write_vectors

SETTINGS = EmbedConfig(batch_tokens=64, threads=1)


def embed(place: Workplace, out: str = "clamp3", **options: object) -> Path:
    folder = place.embeddings / out
    manifests = options.pop("manifests", place.manifests)
    embed_model(place.model, manifests, folder, SETTINGS, root=place.root, device="cpu", **options)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_table_for_each_collection_and_modality(workplace: Workplace, tiny: LoadedClamp):
    folder = embed(workplace)
    assert sorted(tree(folder)) == [
        "pdmx/abc.parquet",
        "pdmx/audio.parquet",
        "pdmx/mtf.parquet",
        "pdmx/text.parquet",
        "rejected.parquet",
        "wikimt_x/abc.parquet",
        "wikimt_x/text.parquet",
    ]
    abc = read_vectors(folder / "pdmx/abc.parquet")
    assert abc.ids == sorted(f"pdmx/Qm{n}" for n in range(12))
    assert (abc.origin.modality, abc.origin.collection) == ("abc", "pdmx")
    assert abc.origin.fingerprint == abc.origin.space == load_clamp(workplace.model).fingerprint
    pieces = [score(int(name.removeprefix("pdmx/Qm"))) for name in abc.ids]
    expected = embed_pieces(tiny, "abc", pieces)
    np.testing.assert_allclose(abc.embeddings, expected, atol=1e-6)
    assert len(read_vectors(folder / "pdmx/audio.parquet").ids) == 4
    assert read_rejected(folder / "rejected.parquet") == []


def test_texts_by_field_and_none_for_fields_without_text(workplace: Workplace, tiny: LoadedClamp):
    texts = read_vectors(embed(workplace) / "pdmx/text.parquet")
    rows = list(zip(texts.ids, texts.labels["field"], strict=True))
    assert rows == [
        (name, field)
        for name in sorted(f"pdmx/Qm{n}" for n in range(12))
        for field in ("background", "analysis")
        if workplace.texts[name][field]
    ]
    given = [workplace.texts[name][field] for name, field in rows]
    np.testing.assert_allclose(texts.embeddings, embed_pieces(tiny, "text", given), atol=1e-6)


def test_the_columns_are_plain_lists_of_floats(workplace: Workplace):
    path = embed(workplace) / "pdmx/abc.parquet"
    kind = pq.read_schema(path).field("embedding").type
    assert str(kind) == "fixed_size_list<element: float>[16]"
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert column.compression == "UNCOMPRESSED"
    assert column.encodings == ("PLAIN", "RLE") or "RLE_DICTIONARY" not in column.encodings


def test_the_same_inputs_give_the_same_bytes(workplace: Workplace):
    first, again = embed(workplace), embed(workplace, "again")
    assert tree(first) == tree(again)


def test_one_bad_piece_costs_that_piece_alone(workplace: Workplace):
    whole = read_vectors(embed(workplace) / "pdmx/abc.parquet")
    bad = workplace.root / "bad.abc"
    bad.write_text("", encoding="utf-8")
    lines = workplace.manifests[0].read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows[5]["filepaths"] = ["bad.abc"]
    write_jsonl(workplace.manifests[0], rows)
    folder = embed(workplace)
    found = read_vectors(folder / "pdmx/abc.parquet")
    kept = [row for row, name in enumerate(whole.ids) if name != rows[5]["id"]]
    assert found.ids == [whole.ids[row] for row in kept]
    np.testing.assert_allclose(found.embeddings, whole.embeddings[kept], atol=1e-6)
    (rejected,) = read_rejected(folder / "rejected.parquet")
    assert (rejected.id, rejected.stage, rejected.kind) == (rows[5]["id"], "embed", "empty_file")


def test_a_table_of_failures_fails_but_the_others_are_written(workplace: Workplace):
    rows = [{"id": "wikimt_x/0", "filepaths": ["bad.abc"], "analysis": "a reel"}]
    (workplace.root / "bad.abc").write_text(" ", encoding="utf-8")
    write_jsonl(workplace.manifests[3], rows)
    message = r"nothing could be embedded of wikimt_x abc.*empty_file: 1"
    with pytest.raises(DataError, match=message):
        embed(workplace)
    assert len(read_vectors(workplace.embeddings / "clamp3/pdmx/abc.parquet").ids) == 12


def test_an_empty_manifest_gives_an_empty_table(workplace: Workplace):
    write_jsonl(workplace.manifests[2], [])
    table = read_vectors(embed(workplace) / "pdmx/audio.parquet")
    assert (table.ids, table.embeddings.shape) == ([], (0, 16))


def test_nothing_at_all_is_an_error(workplace: Workplace):
    write_jsonl(workplace.manifests[2], [])
    with pytest.raises(DataError, match="name no piece"):
        embed(workplace, manifests=[workplace.manifests[2]])


def test_a_flipped_bit_of_the_weights_is_found(workplace: Workplace):
    weights = workplace.model / "symbolic.safetensors"
    whole = weights.read_bytes()
    data = bytearray(whole)
    data[-4] ^= 1  # the smallest bit of a number: still finite, still of its shape
    weights.write_bytes(data)
    try:
        with pytest.raises(CheckpointError, match=r"symbolic\.safetensors: not the weights"):
            embed(workplace, "flipped")
    finally:
        weights.write_bytes(whole)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_an_adapter_changes_its_modality_and_no_other_is_written(workplace: Workplace):
    torch.manual_seed(0)
    model = load_clamp(workplace.model).model
    add_lora(model, load_params(ROOT / "params.yaml").lora)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    adapter = workplace.root / "lora/abc"
    save_adapter(model, adapter)
    plain = embed(workplace)
    adapted = embed(workplace, "lora", adapters={"abc": adapter})
    assert sorted(tree(adapted)) == ["pdmx/abc.parquet", "rejected.parquet", "wikimt_x/abc.parquet"]
    before, after = (read_vectors(f / "pdmx/abc.parquet") for f in (plain, adapted))
    assert before.origin.space == after.origin.space
    assert before.origin.fingerprint != after.origin.fingerprint
    assert np.abs(before.embeddings - after.embeddings).max() > 1e-3


def test_manifest_names():
    assert manifest_name(Path("x/wikimt_x-abc-test.jsonl")) == ("wikimt_x", "abc", "test")
    with pytest.raises(DataError, match=r"expected a name like pdmx-abc-test\.jsonl"):
        manifest_name(Path("train.jsonl"))


def test_vectors_come_back_as_written(tmp_path: Path):
    rows = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    written = Vectors(list("abcde"), rows, Origin("f", "s", "text", "c"), {"field": list("vwxyz")})
    write_vectors(tmp_path / "v.parquet", written)
    found = read_vectors(tmp_path / "v.parquet")
    assert (found.ids, found.labels, found.origin) == (written.ids, written.labels, written.origin)
    assert np.array_equal(found.embeddings, rows)
    assert found.take([3, 1]).ids == ["d", "b"]
    assert found.take([3, 1]).labels == {"field": ["y", "w"]}


def test_other_tables_are_no_embeddings(tmp_path: Path, workplace: Workplace):
    store = workplace.root / "data/mtf/part-00000-of-00001.parquet"
    with pytest.raises(DataError, match=r"not a table of embeddings.*clamp3 embed"):
        read_vectors(store)
    broken = Vectors(["a"], np.array([[np.nan]]), Origin("f", "s", "abc", "c"))
    write_vectors(tmp_path / "v.parquet", broken)
    with pytest.raises(DataError, match="NaN"):
        read_vectors(tmp_path / "v.parquet")
