"""What the report shows of the pieces themselves: a map of their vectors, retrieved examples."""

from collections.abc import Sequence

import numpy as np

from clamp3.data.store import PieceReader
from clamp3.retrieval import plots
from clamp3.retrieval.examples import Answer, Example, choose_examples
from clamp3.retrieval.maps import (
    OTHER,
    common_labels,
    principal_map,
    sample_rows,
    telling_labels,
    without_group_means,
)
from clamp3.retrieval.page import Html, element, figure, figures, joined, note, section
from clamp3.retrieval.vectors import Vectors

KINDS_SHOWN = 7
SCORE_LINES = 40


def examples_section(
    tables: dict[str, Vectors],
    pieces: dict[str, dict],
    reader: PieceReader,
    *,
    field: str | None,
    count: int,
) -> Html:
    """Some texts of the kind `field` and the scores nearest to them; `pieces` by id.

    Nothing without such texts or without scores.
    """
    if field is None or not {"text", "abc"} <= tables.keys():
        return Html("")
    texts = tables["text"]
    asked = [row for row, name in enumerate(texts.labels["field"]) if name == field]
    found = choose_examples(texts.take(asked), tables["abc"], count)
    return section(
        "Retrieved examples",
        note(
            f"The `{field}` text of a few held-out pieces, chosen by a hash and not by success, "
            "and the three nearest scores."
        )
        if found
        else "",
        *(_example(example, pieces, field, reader) for example in found),
    )


def _example(example: Example, pieces: dict[str, dict], field: str, reader: PieceReader) -> Html:
    asked = pieces.get(example.id, {})
    answers = [_answer(answer, pieces, reader) for answer in example.answers]
    return joined(
        [
            element("h3", asked.get("title") or example.id),
            element("blockquote", asked.get(field) or ""),
            note(f"The right score has rank {example.rank:g} of {example.references}."),
            element("div", *answers, class_="answers"),
        ]
    )


def _answer(answer: Answer, pieces: dict[str, dict], reader: PieceReader) -> Html:
    piece = pieces.get(answer.id, {})
    mark = element("span", "✓ the right one", class_="mark") if answer.right else ""
    score = _score(piece, reader)
    return element(
        "div",
        element("strong", piece.get("title") or answer.id),
        note(f"cosine {answer.similarity:.3f} ", mark),
        element("details", element("summary", "score (ABC)"), element("pre", score))
        if score
        else "",
        class_="answer right" if answer.right else "answer",
    )


def _score(piece: dict, reader: PieceReader) -> str:
    path = next((name for name in piece.get("filepaths", []) if name.endswith(".abc")), None)
    if path is None:
        return ""
    lines = str(reader.read(path)).splitlines()
    more = len(lines) - SCORE_LINES
    return "\n".join(lines[:SCORE_LINES] + ([f"… {more} more lines"] if more > 0 else []))


def space_section(tables: dict[str, Vectors], pieces: dict[str, dict], points: int) -> Html:
    """Maps of at most about `points` vectors, by modality and by kind of piece."""
    tables = {name: vectors for name, vectors in tables.items() if vectors.ids}
    if not tables or sum(len(vectors.ids) for vectors in tables.values()) < 3:
        return Html("")
    each = max(1, points // len(tables))
    chosen = {
        name: vectors.take(sample_rows(vectors.ids, each)) for name, vectors in tables.items()
    }
    embeddings = np.concatenate([vectors.embeddings for vectors in chosen.values()])
    modalities = [name for name, vectors in chosen.items() for _ in vectors.ids]
    ids = [piece for vectors in chosen.values() for piece in vectors.ids]
    whole = principal_map(embeddings)
    inside = principal_map(without_group_means(embeddings, modalities))
    kinds = _kinds([pieces.get(piece, {}) for piece in ids])
    named = sorted(set(kinds) - {OTHER}, key=lambda name: (-kinds.count(name), name))
    return section(
        "Map of the space",
        figures(
            [
                figure(
                    plots.scatter_figure(whole.points, modalities, list(chosen)),
                    f"Vectors of held-out pieces by modality; {_shown(whole.shown)}.",
                ),
                figure(
                    plots.scatter_figure(inside.points, kinds, named),
                    "The same without the mean of each modality, by kind of piece; "
                    f"{_shown(inside.shown)}.",
                ),
            ]
        ),
    )


def _shown(shares: tuple[float, float]) -> str:
    return f"two principal axes, {sum(shares):.0%} of the variance"


def _kinds(pieces: Sequence[dict]) -> list[str]:
    """A label for each piece: its first genre, or its first tag where genres are all alike."""
    genres = [next(iter(piece.get("genres") or []), None) for piece in pieces]
    tags = [next(iter(piece.get("tags") or []), None) for piece in pieces]
    return common_labels(telling_labels([genres, tags]), KINDS_SHOWN)
