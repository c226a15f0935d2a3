"""What the service answers, as its OpenAPI document describes it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Modality = Literal["text", "abc", "mtf", "audio", "image"]
Format = Literal["abc", "midi", "audio"]
Known = dict[str, str | list[str]]


class Answer(BaseModel):
    """Base of all answers: nothing but what is documented."""

    model_config = ConfigDict(extra="forbid")


class Failure(Answer):
    """Why a request was refused, in a sentence for people."""

    error: str = Field(examples=["no piece with the id 'tunes/7.abc' in the index"])
    kind: str = Field(description="A short, stable name of the fault.", examples=["unknown_id"])


class Health(Answer):
    """That the service answers."""

    status: Literal["ok"]


class ModelInfo(Answer):
    """The model that all queries are embedded with."""

    name: str = Field(examples=["clamp3"])
    kind: str = Field(description="clamp2, clamp3 or clap_musicgen.", examples=["clamp3"])
    space: str = Field(description="Its fingerprint: vectors of one space can be compared.")
    modalities: list[Modality] = Field(description="Queries that it can embed.")


class Property(Answer):
    """Something that results can be filtered by."""

    name: str = Field(examples=["genre"])
    values: list[tuple[str, int]] = Field(
        description="Its most common values, up to 50, each with its number of rows.",
        examples=[[["jig", 120], ["reel", 80]]],
    )


class IndexInfo(Answer):
    """The collection that is searched."""

    rows: int = Field(ge=0, description="Embeddings.")
    pieces: int = Field(ge=0, description="Works, each with a row a modality or more.")
    modalities: dict[str, int] = Field(
        description="Rows of each modality.", examples=[{"abc": 300, "mtf": 300, "audio": 120}]
    )
    width: int = Field(ge=0, description="Of its vectors.")
    approximate: bool = Field(description="Whether approximate=true makes a difference.")
    properties: list[Property]


class LimitsInfo(Answer):
    """What one request may ask for."""

    upload_bytes: int
    text_characters: int
    top_k: int
    seconds: float


class Info(Answer):
    """What the service is."""

    version: str = Field(examples=["0.1.0"])
    model: ModelInfo
    index: IndexInfo
    limits: LimitsInfo
    examples: list[str] = Field(description="Texts to begin with.")
    has_map: bool = Field(description="Whether there is `/api/map`.")


class Query(Answer):
    """What was searched for."""

    kind: Literal["text", "like", "abc", "mtf", "audio", "image"]
    text: str | None = Field(description="The text, or the id of the piece.")
    file: str | None = Field(description="The name of the uploaded file.")
    caption: str | None = Field(description="The words that an image was searched with.")


class Result(Answer):
    """A piece that was found, in one of its modalities."""

    rank: int = Field(ge=1)
    id: str
    similarity: float = Field(description="The cosine of its embedding with the query's.")
    modality: str | None
    title: str | None
    metadata: Known
    formats: list[Format] = Field(description="What `/api/piece` has of it.")


class Results(Answer):
    """What is nearest to a query, best first."""

    query: Query
    model: str = Field(description="The model's fingerprint.")
    seconds: float = Field(ge=0, description="How long it took.")
    results: list[Result]


class Piece(Answer):
    """What is known of a piece."""

    id: str
    title: str | None
    metadata: Known
    formats: list[Format]


class Points(Answer):
    """A map of the collection: the columns of its points, equally long."""

    id: list[str]
    modality: list[str | None]
    x: list[float] = Field(description="From 0 to 1.")
    y: list[float] = Field(description="From 0 to 1.")


class Map(Answer):
    """Where pieces lie on two axes."""

    points: Points
