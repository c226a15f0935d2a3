"""Vectors of the pieces of CLaMP 2's manifests, and of their summaries in several languages."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from clamp3.config import EmbedConfig
from clamp3.data.clamp2_manifests import foreign_summaries
from clamp3.data.clamp2_pieces import english_summary
from clamp3.data.pairs import Pair, look_through
from clamp3.data.summaries.languages import ENGLISH, find_language
from clamp3.data.summaries.templates import template_languages, write_summaries
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.files import atomic_path
from clamp3.models.checkpoints import read_config
from clamp3.randomness import stable_hash
from clamp3.retrieval.embedding.collection import (
    Entry,
    Outcome,
    close,
    embed_collection,
    load_tower,
    music_entries,
)
from clamp3.retrieval.embedding.segments import cpu_threads
from clamp3.retrieval.vectors import Origin

MODALITIES = ("text", "abc", "mtf")
HELD_OUT = "test"
UNTOLD = "not told"  # of a language


def embed_clamp2(
    models: Mapping[str, Path],
    manifests: Mapping[str, Path],
    out: Path,
    settings: EmbedConfig,
    *,
    device: str | None = None,
) -> None:
    """Write out/<model>/<split>/<modality>.parquet for each model by its name.

    `manifests` by split: see `pieces_by_split`, whose pieces are embedded. Of the texts there is a
    row for each piece and language, the code in the column `field`: the first English summary,
    those in other languages, and in the languages of the template writer that the piece has none
    in, what that writer says of it, where it finds enough to say.

    What cannot be embedded stands in out/rejected.parquet. The folder is there with all of its
    tables or not at all. Raises DataError when every piece of a table was rejected.
    """
    outcomes: list[Outcome] = []
    pairs = pieces_by_split(manifests)
    with atomic_path(Path(out)) as draft, cpu_threads(settings.threads):
        for name, model in models.items():
            space = read_config(model).fingerprint
            for modality in MODALITIES:
                loaded = load_tower(model, modality, device=device)
                for split, members in pairs.items():
                    origin = Origin(loaded.fingerprint, space, modality, split)
                    table = draft / name / split / f"{modality}.parquet"
                    entries = _entries(members, modality)
                    outcome = embed_collection(
                        loaded, entries, table, origin, settings.batch_tokens
                    )
                    outcomes.append(outcome._replace(table=f"{name} {outcome.table}"))
        close(outcomes, draft / "rejected.parquet")


def pieces_by_split(manifests: Mapping[str, Path]) -> dict[str, Sequence[Pair]]:
    """The pieces of `test`, and of each other split as many, by a hash of their ids.

    So galleries are of one size, and figures on both can be compared. Raises DataError where
    `test` has no pieces.
    """
    found = {s: look_through([path], (), lambda pair: pair.id) for s, path in manifests.items()}
    count = len(found[HELD_OUT][0])
    if not count:
        raise DataError(
            f"{manifests[HELD_OUT]}: no pieces; expected held-out ones to tell figures of"
        )
    return {split: pairs.take(sorted(_chosen(ids, count))) for split, (pairs, ids) in found.items()}


def _chosen(ids: Sequence[str], count: int) -> list[int]:
    """The places of so many ids, the same whatever other ids there are."""
    return sorted(range(len(ids)), key=lambda place: stable_hash("piece", ids[place]))[:count]


def _entries(pairs: Sequence[Pair], modality: str) -> list[Entry]:
    if modality != "text":
        return music_entries(pairs, modality, Path("."))
    return [
        Entry(pair.id, code, partial(str, text))
        for pair in pairs
        for code, text in summaries_of(pair.id, pair.texts).items()
    ]


def summaries_of(piece_id: str, line: Mapping) -> dict[str, str]:
    """What is said of a piece, by the code of the language, English first."""
    english = english_summary(line)
    found = {ENGLISH.code: english} if english else {}
    for entry in foreign_summaries(line.get("summary_nen")):
        found.setdefault(language_code(entry["language"]), entry["summary"])
    for code, text in _by_template(piece_id, line):
        found.setdefault(code, text)
    return found


def _by_template(piece_id: str, line: Mapping) -> Iterator[tuple[str, str]]:
    for language in template_languages():
        try:
            yield language.code, write_summaries(piece_id, line, language).other
        except FormatError:  # too little is known: in any language
            return


def language_code(name: str | None) -> str:
    """The code of a language of CLaMP 2 by its name; the name itself of any other."""
    try:
        return find_language(name).code if name else UNTOLD
    except ConfigError:
        return name
