"""What the report shows of the pieces themselves: retrieved examples."""

from clamp3.data.piece_reader import PieceReader
from clamp3.retrieval.evaluation.examples import Answer, Example, choose_examples
from clamp3.retrieval.report.html import Html, element, joined, note, section
from clamp3.retrieval.vectors import Vectors

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
    found = choose_examples(tables["text"].labelled("field", field), tables["abc"], count)
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
