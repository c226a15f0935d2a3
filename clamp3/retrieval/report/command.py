"""What `clamp3 describe` does: the space of any tables or folders of embeddings, as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clamp3.config import SpaceConfig
from clamp3.errors import ConfigError, DataError
from clamp3.files import write_text
from clamp3.retrieval.evaluation.figures import interval_text, some
from clamp3.retrieval.keys import keys_of
from clamp3.retrieval.metadata import Facts, facts_of, read_facts, read_scores
from clamp3.retrieval.report.html import element, note, page
from clamp3.retrieval.report.space import space_sections
from clamp3.retrieval.space.description import Part, describe_space
from clamp3.retrieval.vector_files import Read, read_embeddings
from clamp3.retrieval.vectors import Vectors, refuse_two_models

TITLE = "A space of embeddings"
MODALITY, COLLECTION = "modality", "collection"


@dataclass(frozen=True)
class Known:
    """Where what is known of the pieces is read: tables, and a folder of scores."""

    tables: tuple[Path, ...] = ()
    scores: Path | None = None


def describe_files(
    sources: Sequence[Path | str],
    known: Known,
    settings: SpaceConfig,
    *,
    by: str = "name",
    out: Path | None = None,
    seed: int = 0,
) -> dict:
    """The figures of the space as JSON values, the same in every run; `out`: a page to write.

    A source that holds several modalities counts as several. Rows of equal key (see `keys_of`) are
    of one piece, and what is known of one of them is known of all.

    Raises DataError where the sources are of different models or hold nothing, ConfigError for a
    column that is not known of any piece.
    """
    reads = [read_embeddings(source) for source in sources]
    for read in reads[1:]:
        refuse_two_models(reads[0].vectors, read.vectors)
    parts = _parts(sources, reads, known, by)
    _refuse_unknown(parts, settings.columns)
    report = {"sources": [str(source) for source in sources], "by": by}
    report |= describe_space(parts, settings, seed=seed)
    report["refused"] = {
        str(source): read.refusals for source, read in zip(sources, reads, strict=True)
    }
    if out is not None:
        about = note("Embeddings: ", ", ".join(report["sources"]), f". Pieces are told by {by}.")
        content = space_sections(parts, report, settings)
        write_text(Path(out), page(TITLE, element("h1", TITLE), about, content))
    return report


def _parts(
    sources: Sequence[Path | str], reads: Sequence[Read], known: Known, by: str
) -> list[Part]:
    sides = [
        (name, vectors)
        for source, read in zip(sources, reads, strict=True)
        for name, vectors in _by_modality(source, read.vectors)
        if vectors.ids
    ]
    if not sides:
        raise DataError("no embeddings in " + ", ".join(map(str, sources)))
    keys = [keys_of(vectors, by) for _, vectors in sides]
    names = [
        name for (_, vectors), own in zip(sides, keys, strict=True) for name in (*vectors.ids, *own)
    ]
    tables = _tables(known, names)
    facts = [_facts(vectors, own, tables) for (_, vectors), own in zip(sides, keys, strict=True)]
    _share(keys, facts)
    names = _distinct([name for name, _ in sides])
    return [
        Part(name, vectors, own, told)
        for name, (_, vectors), own, told in zip(names, sides, keys, facts, strict=True)
    ]


def _tables(known: Known, names: Sequence[str]) -> list[dict[str, Facts]]:
    """What is known, by id, scores first. Raises DataError for what knows none of the names."""
    read = [(known.scores, read_scores(known.scores))] if known.scores else []
    read += [(path, read_facts(path)) for path in known.tables]
    for path, table in read:
        if not any(facts_of(names, [table])):
            raise DataError(
                f"{path}: nothing about any of these pieces: the embeddings have ids such as "
                f"{some(names)}, it has such as {some(table)}"
            )
    return [table for _, table in read]


def _by_modality(source: Path | str, vectors: Vectors) -> list[tuple[str, Vectors]]:
    """The modalities of a source, each with its rows, in the order they come."""
    if MODALITY not in vectors.labels:
        return [(vectors.origin.modality or Path(source).stem or str(source), vectors)]
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(vectors.labels[MODALITY]):
        rows.setdefault(name, []).append(row)
    return [(name, vectors.take(found)) for name, found in rows.items()]


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that occur again with a number."""
    return [
        name if (before := list(names[:place]).count(name)) == 0 else f"{name} ({before + 1})"
        for place, name in enumerate(names)
    ]


def _facts(
    vectors: Vectors, keys: Sequence[str], tables: Sequence[dict[str, Facts]]
) -> list[Facts]:
    """What the table of embeddings, then the others say of each row, by its id, then its key."""
    told = [
        by_key | by_id
        for by_id, by_key in zip(facts_of(vectors.ids, tables), facts_of(keys, tables), strict=True)
    ]
    if vectors.origin.collection:
        told = [{COLLECTION: vectors.origin.collection} | facts for facts in told]
    for name in sorted(vectors.labels.keys() - {MODALITY}):  # which is what the sets are told by
        for facts, value in zip(told, vectors.labels[name], strict=True):
            facts[name] = value
    return told


def _share(keys: Sequence[Sequence[str]], facts: Sequence[Sequence[Facts]]) -> None:
    """Let rows know what is known of rows of the same key."""
    known: dict[str, Facts] = {}
    rows = [
        (key, told)
        for names, side in zip(keys, facts, strict=True)
        for key, told in zip(names, side, strict=True)
    ]
    for key, told in rows:
        known[key] = told | known.get(key, {})
    for key, told in rows:
        told |= {name: value for name, value in known[key].items() if name not in told}


def _refuse_unknown(parts: Sequence[Part], columns: Sequence[str]) -> None:
    there = dict.fromkeys(name for part in parts for told in part.facts for name in told)
    for name in columns:
        if name not in there:
            raise ConfigError(
                f"--colour {name}: not known of any piece; known are "
                f"{', '.join(there) or 'none'} (--metadata names a table with more, --scores a "
                "folder whose scores say key and metre)"
            )


def lines(report: dict) -> list[str]:
    """The report as a person reads it."""
    return [*_set_lines(report), *_pair_lines(report), *_purity_lines(report)]


def _set_lines(report: dict) -> list[str]:
    found = [f"{'vectors of':<24} {'count':>8} {'uniformity':>11} {'dimension':>10} {'hubness':>8}"]
    own = {
        one["asking"]: one["hubness"]
        for one in report["directions"]
        if one["asking"] == one["among"]
    }
    for one in report["sets"]:
        found.append(
            f"{one['name']:<24} {one['embeddings']:>8} {_number(one['uniformity']):>11} "
            f"{one['effective_dimension']:>10.1f} {own[one['name']]:>8.2f}"
        )
    return found


def _pair_lines(report: dict) -> list[str]:
    if not report["pairs"]:
        return []
    head = f"{'between':<24} {'gap':>8} {'chance':>8} {'pairs':>8} {'alignment':>10}"
    found = ["", f"{head} {'95 % interval':>19} {'at random':>10}"]
    for pair in report["pairs"]:
        name = f"{pair['first']} – {pair['second']}"
        ends = interval_text(pair.get("alignment_interval"))
        found.append(
            f"{name:<24} {pair['gap']:>8.4f} {pair['gap_by_chance']:>8.4f} {pair['pairs']:>8} "
            f"{_number(pair.get('alignment')):>10} {ends:>19} "
            f"{_number(pair.get('alignment_unmatched')):>10}".rstrip()
        )
    return found


def _purity_lines(report: dict) -> list[str]:
    found = []
    for column in report["columns"]:
        for one in report["directions"]:
            told = one["purity"].get(column)
            if told:
                name = f"{column}: {one['asking']} → {one['among']}"
                found.append(
                    f"{name:<40} {told['queries']:>8} {told['share']:>8.4f} "
                    f"{interval_text(told['interval']):>19} {told['chance']:>8.4f}"
                )
    if not found:
        return []
    head = f"{report['neighbours']} nearest have in common"
    return [
        "",
        f"{head:<40} {'asked':>8} {'share':>8} {'95 % interval':>19} {'chance':>8}",
        *found,
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
