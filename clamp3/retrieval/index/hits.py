"""What a search finds."""

from dataclasses import dataclass, field

from clamp3.retrieval.index.rows import FIELD, ID, KEY, MODALITY, told


@dataclass(frozen=True)
class Hit:
    """One found row: its id, its cosine with the query, its labels (modality, field).

    `metadata`: what else is known of it, a text or a list of texts a property.
    """

    id: str
    similarity: float
    labels: dict[str, str]
    metadata: dict[str, str | list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, row: dict, similarity: float) -> "Hit":
        """A row of `rows_of`, as a search tells it."""
        labels = {name: row[name] for name in (MODALITY, FIELD) if row[name] is not None}
        known = {name: told(value) for name, value in row.items() if name not in KEY and value}
        return cls(row[ID], float(similarity), labels, known)
