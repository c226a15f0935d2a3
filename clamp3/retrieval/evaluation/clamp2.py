"""How well CLaMP 2 finds pieces by summaries, in languages that it has seen with them or not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clamp3.data.clamp2_manifests import foreign_summaries
from clamp3.data.clamp2_pieces import english_summary
from clamp3.data.summaries.languages import ENGLISH, all_languages
from clamp3.errors import DataError
from clamp3.files import write_json
from clamp3.retrieval.embedding.clamp2_vectors import language_code, pieces_by_split
from clamp3.retrieval.evaluation.figures import Task, rank
from clamp3.retrieval.evaluation.held_out import direction_figures
from clamp3.retrieval.evaluation.intervals import LEVEL
from clamp3.retrieval.evaluation.metrics import TIE_RULE
from clamp3.retrieval.vectors import Vectors, read_vectors

TOLD = "told"  # the label of what is said of a piece: pieces of one text are equally right


def evaluate_clamp2(
    embeddings: Path, manifests: Mapping[str, Path], out: Path, *, hits_at: Sequence[int]
) -> dict:
    """Rank scores and performances by summaries; the figures, which are also written to `out`.

    `embeddings`: the folder that `embed_clamp2` filled with the same `manifests`. Under `models`,
    by model and split, are the directions from

    - `english`: the first summary in English,
    - `other`: the summaries in the other language that the piece has,
    - `unseen`: summaries in languages that it has not, so that no training has seen them with it,

    to scores (`abc`) and performances (`mtf`) of the same split, each with figures, chance,
    intervals and the figures of each language. Pieces whose first English summary is the same are
    equally right. `pieces` counts pieces and distinct English summaries by split. Directions
    without queries are left out.

    Raises DataError where no direction is left.
    """
    lines = {
        split: {pair.id: pair.texts for pair in pairs}
        for split, pairs in pieces_by_split(manifests).items()
    }
    models = {
        folder.name: {
            split: dict(_directions(folder / split, lines[split], hits_at))
            for split in lines
            if (folder / split).is_dir()
        }
        for folder in sorted(path for path in Path(embeddings).iterdir() if path.is_dir())
    }
    if not any(found for splits in models.values() for found in splits.values()):
        raise DataError(f"{embeddings}: nothing to evaluate: no summary of a piece with vectors")
    report = {
        "tie_rule": TIE_RULE,
        "hits_at": list(hits_at),
        "interval_level": LEVEL,
        "pieces": {split: _counts(own) for split, own in lines.items()},
        "models": models,
    }
    write_json(out, report)
    return report


def _counts(lines: Mapping[str, Mapping]) -> dict[str, int]:
    said = {_told(piece, line) for piece, line in lines.items()}
    return {"pieces": len(lines), "distinct": len(said)}


def _told(piece_id: str, line: Mapping) -> str:
    return english_summary(line) or piece_id


def _directions(
    folder: Path, lines: Mapping[str, Mapping], hits_at: Sequence[int]
) -> Iterator[tuple[str, dict]]:
    """Yield the name of each direction and its figures."""
    told = {piece: _told(piece, line) for piece, line in lines.items()}
    texts = read_vectors(folder / "text.parquet")
    for kind, queries in _kinds(_labelled(texts, told), lines):
        for modality in ("abc", "mtf"):
            music = _labelled(read_vectors(folder / f"{modality}.parquet"), told)
            if set(music.labels[TOLD]) & set(queries.labels[TOLD]):
                ranked = rank(queries, music, Task(by=TOLD))
                header = {"query": "text", "reference": modality, "text_field": kind}
                yield f"{kind}_to_{modality}", header | direction_figures(ranked, hits_at)


def _kinds(texts: Vectors, lines: Mapping[str, Mapping]) -> Iterator[tuple[str, Vectors]]:
    """Yield the queries of each kind that there are, with a label `language`."""
    names = {language.code: language.name for language in all_languages()}
    own = {piece: _other_codes(line) for piece, line in lines.items()}
    kinds: dict[str, list[int]] = {"english": [], "other": [], "unseen": []}
    for row, (piece, code) in enumerate(zip(texts.ids, texts.labels["field"], strict=True)):
        is_other = "other" if code in own[piece] else "unseen"
        kinds["english" if code == ENGLISH.code else is_other].append(row)
    for kind, rows in kinds.items():
        if rows:
            queries = texts.take(rows)
            languages = [names.get(code, code) for code in queries.labels["field"]]
            yield kind, replace(queries, labels=queries.labels | {"language": languages})


def _other_codes(line: Mapping) -> set[str]:
    found = foreign_summaries(line.get("summary_nen"))
    return {language_code(entry["language"]) for entry in found}


def _labelled(vectors: Vectors, told: Mapping[str, str]) -> Vectors:
    said = [told[piece] for piece in vectors.ids]
    return replace(vectors, labels=vectors.labels | {TOLD: said})
