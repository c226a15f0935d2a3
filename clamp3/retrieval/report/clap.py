"""The report's table of CLAP-MusicGen: how well it finds held-out recordings."""

import json
from pathlib import Path

from clamp3.errors import DataError
from clamp3.retrieval.report.html import Html, chance, note, section, table

DIRECTIONS = {
    "text_to_audio": "text → recording",
    "audio_to_text": "recording → text",
    "audio_to_audio": "recording → recording",
}
GRADED = "ndcg@5"


def clap_section(path: Path) -> Html:
    """The figures in a file of `evaluate_clap`; raises DataError where it is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        hits = [name for name in report["text_to_audio"]["chance"] if name.startswith("hit@")]
        lines = [_line(name, report[key], hits) for key, name in DIRECTIONS.items()]
        pieces, captions = report["pieces"], report["captions"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: not an evaluation of CLAP-MusicGen ({error!r})") from error
    head = ["direction", "MRR [95 %]", "chance"]
    for name in (*hits, "graded nDCG@5"):
        head += [name.capitalize() if name in hits else name, "chance"]
    return section(
        "CLAP-MusicGen",
        table(head, lines),
        note(
            f"{pieces} held-out recordings with {captions} different captions; recordings of "
            "one caption are equally right. Graded nDCG takes a recording for worth the cosine "
            "of its caption's words with the query's, so that near misses count, too."
        ),
    )


def _line(name: str, row: dict, hits: list[str]) -> list[object]:
    cells: list[object] = [name]
    if "figures" in row:
        found, level, (low, high) = row["figures"]["mean"], row["chance"], row["intervals"]["mrr"]
        cells += [f"{found['mrr']:.3f} [{low:.3f}, {high:.3f}]", chance(level["mrr"])]
        for hit in hits:
            cells += [f"{found[hit]:.3f}", chance(level[hit])]
    else:
        cells += [""] * (2 + 2 * len(hits))
    return [*cells, f"{row['graded'][GRADED]:.3f}", chance(row["graded"]["chance"][GRADED])]
