"""What the report shows of the space: figures, maps by what pieces are, and their neighbours."""

from collections.abc import Sequence

import numpy as np

from clamp3.config import SpaceConfig
from clamp3.data.piece_reader import PieceReader
from clamp3.retrieval.metadata import Facts, first_values, score_facts
from clamp3.retrieval.report import plots
from clamp3.retrieval.report.html import (
    Html,
    chance,
    element,
    figure,
    figures,
    joined,
    note,
    section,
    table,
)
from clamp3.retrieval.space.description import Part, columns_of, describe_space
from clamp3.retrieval.space.maps import (
    OTHER,
    common_labels,
    neighbour_map,
    principal_map,
    sample_rows,
    without_group_means,
)
from clamp3.retrieval.vectors import Vectors

KINDS_SHOWN = 7
FEWEST = 3  # vectors worth a map
UNKNOWN = "not known"


def space_section(
    tables: dict[str, Vectors],
    pieces: dict[str, dict],
    reader: PieceReader,
    settings: SpaceConfig,
    *,
    catalog: dict[str, Facts] | None = None,
) -> Html:
    """The space of a model's held-out pieces; nothing with fewer than three vectors.

    `tables` by modality; `pieces`: the lines of the manifests by id; the scores they name are read
    for key and metre; `catalog`: more that is known, by id.
    """
    facts = _facts(pieces, reader, catalog or {})
    parts = [
        Part(name, vectors, vectors.ids, [facts.get(piece, {}) for piece in vectors.ids])
        for name, vectors in _scores_first(tables)
        if vectors.ids
    ]
    if sum(len(part.keys) for part in parts) < FEWEST:
        return Html("")
    return space_sections(parts, describe_space(parts, settings), settings)


def _scores_first(tables: dict[str, Vectors]) -> list[tuple[str, Vectors]]:
    """Scores ask for the neighbours that are listed."""
    return sorted(tables.items(), key=lambda item: item[0] != "abc")


def _facts(
    pieces: dict[str, dict], reader: PieceReader, catalog: dict[str, Facts]
) -> dict[str, Facts]:
    """What the score, the manifest and the catalogue say of each piece, the first counting."""
    known = {}
    for piece, line in pieces.items():
        path = next((name for name in line.get("filepaths", []) if name.endswith(".abc")), None)
        heads = score_facts(str(reader.read(path))) if path else {}
        known[piece] = catalog.get(piece, {}) | first_values(line) | heads
    return known


def space_sections(parts: Sequence[Part], found: dict, settings: SpaceConfig) -> Html:
    """Maps, figures and neighbours of a space; `found` is what `describe_space` gave for it."""
    return joined(
        [
            section("Map of the space", _maps(parts, settings)),
            section("The space in figures", _set_table(found), _pair_table(found)),
            section("Neighbours", _purity_table(found), _piece_tables(found), _hub_table(found)),
        ]
    )


def _maps(parts: Sequence[Part], settings: SpaceConfig) -> Html:
    each = max(1, settings.map_points // len(parts))
    chosen = [part.take(sample_rows(part.keys, each)) for part in parts]
    embeddings = np.concatenate([part.vectors.embeddings for part in chosen])
    owners = [part.name for part in chosen for _ in part.keys]
    names = [part.title(row) for part in chosen for row in range(len(part.keys))]
    whole = principal_map(embeddings)
    drawn = [
        figure(
            plots.scatter_figure(
                whole.points,
                owners,
                [part.name for part in chosen],
                title="Map of the space by modality",
                names=[f"{name} ({owner})" for name, owner in zip(names, owners, strict=True)],
            ),
            f"Vectors by modality; {_shown(whole.shown)}.",
        )
    ]
    points, how = _inside(without_group_means(embeddings, owners), settings)
    for column in columns_of(parts, settings):
        values = [value for part in chosen for value in part.values(column)]
        drawn.append(_map_by(column, points, values, names, how))
    return figures(drawn)


def _map_by(
    column: str, points: np.ndarray, values: list[str | None], names: list[str], how: str
) -> Html:
    labels = [
        UNKNOWN if value is None else label
        for value, label in zip(values, common_labels(values, KINDS_SHOWN), strict=True)
    ]
    rest = {OTHER, UNKNOWN}
    order = sorted(set(labels) - rest, key=lambda name: (-labels.count(name), name))
    told = [f"{name}: {value or UNKNOWN}" for name, value in zip(names, values, strict=True)]
    title = f"Map of the space by {column}"
    return figure(
        plots.scatter_figure(points, labels, order, title=title, names=told),
        f"Without the mean of each modality, by {column}; {how}.",
    )


def _inside(embeddings: np.ndarray, settings: SpaceConfig) -> tuple[np.ndarray, str]:
    """Points of the vectors without the gaps between modalities, and how they were laid out."""
    if settings.layout == "neighbours":
        return neighbour_map(embeddings), "near on the map (t-SNE) is near in the space"
    found = principal_map(embeddings)
    return found.points, _shown(found.shown)


def _shown(shares: tuple[float, float]) -> str:
    return f"two principal axes, {sum(shares):.0%} of the variance"


def _set_table(found: dict) -> Html:
    rows = [
        [
            one["name"],
            one["embeddings"],
            _number(one["uniformity"]),
            f"{one['effective_dimension']:.1f} of {one['width']}",
        ]
        for one in found["sets"]
    ]
    return joined(
        [
            table(["vectors of", "count", "uniformity", "effective dimension"], rows),
            note(
                "Uniformity is log mean exp(−2 d²) over pairs: 0 where all vectors are one, −4 "
                "where they are spread evenly over many dimensions. The effective dimension is the "
                "participation ratio of the variance."
            ),
        ]
    )


def _pair_table(found: dict) -> Html:
    rows = [
        [
            f"{pair['first']} – {pair['second']}",
            _number(pair["gap"]),
            chance(pair["gap_by_chance"]),
            pair["pairs"],
            _with_interval(pair.get("alignment"), pair.get("alignment_interval")),
            chance(pair.get("alignment_unmatched")),
            "" if pair.get("gap_share") is None else f"{pair['gap_share']:.0%}",
        ]
        for pair in found["pairs"]
    ]
    head = ["between", "gap", "chance", "pairs", "alignment", "at random", "share of the gap"]
    told = table(head, rows)
    if not told:
        return told
    return joined(
        [
            told,
            note(
                "The gap is the distance between the centroids of unit vectors (Liang and others "
                "2022), beside what random sets of these sizes show. Alignment is the mean squared "
                "distance of a piece in one modality and in the other (Wang and Isola 2020), "
                f"{_level(found)}, beside that of pieces matched at random; the last column is "
                "the part of it that one shift of a modality would take away."
            ),
        ]
    )


def _hub_table(found: dict) -> Html:
    rows = [
        [one["asking"], one["among"], f"{one['hubness']:.2f}", f"{one['never_near']:.0%}"]
        for one in found["directions"]
    ]
    return element(
        "details",
        element("summary", "hubs: vectors that are near to everything"),
        table(["asking", "among", "skewness", "never near"], rows, texts=2),
        note(
            f"Skewness of how often a vector is among the {found['neighbours']} nearest, above 1 "
            "where a few are near to everything, and the share that is near to nothing."
        ),
    )


def _purity_table(found: dict) -> Html:
    rows = [
        [
            column,
            one["asking"],
            one["among"],
            one["purity"][column]["queries"],
            _with_interval(one["purity"][column]["share"], one["purity"][column]["interval"]),
            chance(one["purity"][column]["chance"]),
        ]
        for column in found["columns"]
        for one in found["directions"]
        if column in one["purity"]
    ]
    own = [row for row in rows if row[1] == row[2]]
    head = ["have in common", "asking", "among", "asked", "share", "chance"]
    if not rows:
        return Html("")
    return joined(
        [
            table(head, own, texts=3),
            element(
                "details",
                element("summary", "across modalities"),
                table(head, [row for row in rows if row[1] != row[2]], texts=3),
            ),
            note(
                f"How many of the {found['neighbours']} nearest other pieces have the same value, "
                f"of those that have any, {_level(found)}, beside random neighbours."
            ),
        ]
    )


def _piece_tables(found: dict) -> Html:
    return joined(
        element(
            "details",
            element("summary", f"nearest to {piece['title']} ({piece['asking']})"),
            note(_shared(piece["known"])),
            table(
                ["among", "piece", "cosine", "in common"],
                [
                    [name, one["title"], f"{one['similarity']:.3f}", _shared(one["shared"])]
                    for name, nearest in piece["nearest"].items()
                    for one in nearest
                ],
                texts=4,
            ),
        )
        for piece in found["pieces"]
    )


def _shared(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _level(found: dict) -> str:
    return f"with {found['level']:.0%} intervals over pieces"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _with_interval(value: float | None, ends: Sequence[float] | None) -> str:
    return _number(value) + (f" ({ends[0]:.3f} … {ends[1]:.3f})" if ends else "")
