"""What a search finds, and in which order."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Hit:
    """One found row: its id, its cosine with the query, its labels (modality, field).

    `metadata`: what else is known of it, a text or a list of texts a property.
    """

    id: str
    similarity: float
    labels: dict[str, str]
    metadata: dict[str, str | list[str]] = field(default_factory=dict)

    @property
    def order(self) -> tuple[float, str, tuple[str, ...]]:
        """Sorts hits: the most similar first, equal ones by id, then by modality and field."""
        labels = tuple(self.labels.get(name, "") for name in ("modality", "field"))
        return -self.similarity, self.id, labels
