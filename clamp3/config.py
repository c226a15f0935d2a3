"""params.yaml as frozen, checked values.

One section per stage; a stage gets its own sections and no others. An unknown or missing key is
an error. The JSON schema that Snakemake checks is generated from here
(`python -m clamp3.config > workflow/schemas/params.schema.json`).
"""

import json
import re
from os.path import normpath
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clamp3.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
# Of a model. What a folder from elsewhere may ask for before its weights are looked at: layers are
# built one by one, and a table as long as the sequence is filled in each.
Layers = Annotated[int, Field(gt=0, le=500)]
Length = Annotated[int, Field(gt=0, le=2**20)]


class Section(BaseModel):
    """Base of all sections: frozen, nothing unknown, nothing left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Splits(Section):
    """How pieces are dealt to train, validation and test, by a hash of their ids."""

    validation_share: Share
    test_share: Share

    @model_validator(mode="after")
    def _leaves_training(self) -> "Splits":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share leave nothing to train on")
        return self


class CorpusConfig(Section):
    """Where the pieces come from."""

    source: Literal["demo", "pdmx"]
    # Holds PDMX.csv, mxl/ and mid/, or is an archive of them; also s3:// and the like. The demo is
    # made there.
    folder: str
    ryans_mammoth: NonNegative  # pieces of the demo
    oneills_1850: NonNegative
    bach_chorales: NonNegative

    @model_validator(mode="after")
    def _demo_is_not_your_data(self) -> "CorpusConfig":
        if (self.folder.rstrip("/") == "data/demo") != (self.source == "demo"):
            raise ValueError(
                f"source: {self.source} with folder: {self.folder}; the demo is made in data/demo, "
                "and your own PDMX (source: pdmx) must lie elsewhere"
            )
        return self


# What a data set besides PDMX can be, and the modality of its pieces (clamp3.data.layouts).
LAYOUTS = {
    "wikimt": "abc",
    "wikimt_x": "abc",
    "midicaps": "mtf",
    "lakh": "mtf",
    "song_describer": "audio",
    "musiccaps": "audio",
    "labelled_scores": "abc",
    "labelled_performances": "mtf",
    "labelled_recordings": "audio",
}


class CollectionConfig(Section):
    """A data set that is evaluated on; its pieces are test pieces."""

    layout: Literal[tuple(LAYOUTS)]
    path: str  # its list (.jsonl, .json, .csv), or the folder of those without one


class ParseConfig(Section):
    """PDMX.csv and other data sets to the catalogue."""

    subset: Literal[
        "all", "rated", "deduplicated", "rated_deduplicated", "no_license_conflict", "all_valid"
    ]
    check_files: bool  # stat every score and MIDI file that a row names
    collections: dict[str, CollectionConfig]  # by name, besides PDMX; {}: none
    max_rejected_share: Share  # of the rows of each data set

    @model_validator(mode="after")
    def _names_are_fit_for_files(self) -> "ParseConfig":
        for name in self.collections:
            if not re.fullmatch("[a-z0-9_]+", name) or name == "pdmx":
                raise ValueError(
                    f"collections: {name!r} is no name for one; expected lower-case letters, "
                    "digits and _, and not pdmx"
                )
        return self


class LimitsConfig(Section):
    """What one score or MIDI file may hold at most; more is refused as `too_large`."""

    max_document_bytes: Positive  # of a MusicXML document, out of its archive
    max_compression_ratio: Positive  # of an archive's member to what it unpacks to
    max_tags: Positive  # tags and attributes of a MusicXML document
    max_voice_events: Positive  # notes, directions, bars … of each part times its voices, summed
    max_midi_bytes: Positive
    max_abc_characters: Positive


class ConversionConfig(Section):
    """A step that converts pieces one by one."""

    max_rejected_share: Share  # more rejects than this fail the stage


class MtfConfig(ConversionConfig):
    """MIDI to MTF."""

    keep_metadata: bool  # false: what M3 was trained on (--m3_compatible)


class AudioConfig(Section):
    """Recordings and their frozen features."""

    source: Literal["render", "folder"]
    # source: folder: files named like the pieces, also in an archive or by s3:// and the like.
    folder: str | None
    render_share: Share  # of the pieces, by hash
    render_seconds: PositiveFloat
    front_end: Literal["mel", "mert"]
    mert_folder: str | None  # a MERT checkpoint folder (front_end: mert)
    resampler: Literal["sinc", "soxr"]
    window_seconds: PositiveFloat
    min_tail_seconds: PositiveFloat
    max_rejected_share: Share

    @model_validator(mode="after")
    def _recordings_are_somewhere(self) -> "AudioConfig":
        if self.source == "folder" and not self.folder:
            raise ValueError("source: folder; expected folder: where your recordings lie")
        return self


class ManifestConfig(Section):
    """Text–music pairs."""

    language: str  # of the texts the catalogue holds


class TokenPrice(Section):
    """What a language model costs, per million tokens, in the currency of `max_money`."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]


class SummariesConfig(Section):
    """A summary of each piece in English and one in another language (docs/summaries.md)."""

    writer: Literal["template", "openai"]  # sentences from a table of terms, or a language model
    languages: dict[str, PositiveFloat]  # weights by name or code; {}: all of the writer's, alike
    base_url: str | None  # of any OpenAI-compatible server; null: OPENAI_BASE_URL, else OpenAI's
    model: str | None  # as the server calls it
    key_variable: str  # the environment variable with the key; the key itself stands nowhere
    structure: Literal["schema", "object", "none"]  # how the server can be held to JSON
    output_limit: Literal["max_completion_tokens", "max_tokens"]  # older servers know the latter
    max_output_tokens: Positive  # of one reply
    max_input_characters: Positive  # of one piece's metadata
    concurrency: Positive  # requests at once
    requests_per_minute: PositiveFloat | None  # null: as many as go
    timeout_seconds: PositiveFloat
    max_attempts: Positive  # requests for one reply: 429, 5xx, time-outs, broken connections
    max_questions: Positive  # replies to one piece: unusable ones are asked again
    first_pause_seconds: PositiveFloat  # before a second attempt; doubles, up to
    max_pause_seconds: PositiveFloat
    max_pieces: NonNegative | None  # limits for all that a cache records, over all runs
    max_tokens: NonNegative | None
    max_money: Annotated[float, Field(ge=0)] | None  # needs the model's price
    prices: dict[str, TokenPrice]  # by model
    max_rejected_share: Share  # refusals, failures and pieces beyond the limits
    ledger: str | None  # the file of all requests and replies; null: ledger.jsonl with the outputs


class PipelineSummariesConfig(SummariesConfig):
    """The same for the pipeline, whose outputs can be made again, while replies cost money."""

    ledger: str  # relative to the work tree, or absolute to be shared by several

    @model_validator(mode="after")
    def _ledger_outlives_the_outputs(self) -> "PipelineSummariesConfig":
        if Path(normpath(self.ledger)).is_relative_to("data/summaries"):
            raise ValueError(
                f"ledger: {self.ledger} lies among the outputs and would go with them; expected "
                "a file elsewhere"
            )
        return self


class M3Architecture(Section):
    """Sizes of M3: a patch encoder (BERT) and a character decoder (GPT-2)."""

    patch_size: Annotated[int, Field(gt=0, le=4096)]  # characters
    patch_length: Length  # patches a window
    hidden_size: Positive  # 64 per attention head
    encoder_layers: Layers
    decoder_layers: Layers


class TrainingConfig(Section):
    """What every training has."""

    epochs: Positive
    steps: Positive | None  # of the optimizer, after which training ends; null: after `epochs`
    batch_size: Positive
    accumulate: Positive  # batches per step of the optimizer; gradients are averaged
    learning_rate: PositiveFloat
    schedule: Literal["constant", "cosine"]  # after warm-up; cosine falls to 0 at the last step
    warmup_steps: NonNegative
    weight_decay: float
    gradient_clip: PositiveFloat  # largest norm
    dropout: Share  # of hidden values and attention, in the parts that learn
    precision: Literal["fp32", "bf16", "fp16"]
    threads: Positive  # CPU threads; the same number gives the same weights
    workers: NonNegative  # processes that make batches ahead; 0: none. The same weights
    processes: Positive  # that share each batch, one per GPU, on each of the nodes
    nodes: Positive  # machines that train together
    gradient_checkpointing: bool  # compute activations twice to hold fewer; the same weights
    compile: bool  # by torch.compile: slow to begin, then faster; needs a C++ compiler
    keep: Literal["best", "last"]  # weights: of the best validation, or of the last epoch
    evaluate_by: str  # the figure that decides which is best: `loss`, or one where more is better
    patience_epochs: Positive | None  # stop after so many without a better evaluation; null: never
    explosion_factor: Annotated[float, Field(gt=1)] | None  # see clamp3/training/watch.py
    keep_checkpoints: NonNegative  # weights of so many last epochs, and the best; 0: none
    tracker: Literal["tensorboard", "wandb", "trackio"] | None  # that figures are also sent to


class M3Config(Section):
    """Masked music modelling."""

    architecture: M3Architecture
    mask_ratio: Share
    training: TrainingConfig


class TextArchitecture(Section):
    """The text tower: XLM-R, from a checkpoint or small and new."""

    pretrained: str | None  # folder or hub name; null: new, with a tokenizer trained on the texts
    vocabulary_size: Positive
    hidden_size: Positive
    layers: Layers
    heads: Positive
    max_tokens: Length


class AudioArchitecture(Section):
    """The audio tower: BERT over feature rows."""

    hidden_size: Positive
    layers: Layers
    max_frames: Length


TextDropout = Literal["clamp3", "clamp2", "none"]  # see clamp3/training/text_dropout.py


class TowerRates(Section):
    """What the learning rate is multiplied by, tower by tower (with their projections)."""

    text: PositiveFloat
    music: PositiveFloat  # the tower of the stage's modality
    embeddings: PositiveFloat  # on top, for the vectors of tokens and of patches' characters


class ContrastConfig(Section):
    """How texts and music of the same pieces learn to find each other."""

    freeze_text: bool  # the text tower and its projection
    freeze_music: bool  # the tower of the modality and its projection
    tower_rates: TowerRates
    text_dropout: TextDropout
    instrument_dropout: Share  # chance that a piece loses its instrument names
    chunk: Positive | None  # pieces computed at once, of a batch of any size; null: the whole batch
    training: TrainingConfig

    @model_validator(mode="after")
    def _something_learns(self) -> "ContrastConfig":
        if self.freeze_text and self.freeze_music:
            raise ValueError("freeze_text and freeze_music leave nothing to train")
        return self

    @model_validator(mode="after")
    def _both_passes_drop_the_same(self) -> "ContrastConfig":
        if self.chunk and self.training.compile:
            raise ValueError(
                "chunk with training.compile: compiled code draws its own dropout, so the two "
                "passes of a chunk would differ; expected one of the two"
            )
        return self


# It stands in paths and in commands.
StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class ClampStage(ContrastConfig):
    """One contrastive stage."""

    modality: Literal["symbolic", "audio"]


class SharedSpaceConfig(Section):
    """What towers that share a space begin with, and how they are compared."""

    width: Positive  # of the shared space
    text: TextArchitecture
    start: str  # checkpoint folder that training begins with: M3, CLaMP 2 or CLaMP 3
    start_from_m3: bool  # false: only its sizes, where `start` is an M3
    similarity: Literal["dot", "cosine"]
    logit_scale: Annotated[float, Field(gt=0, le=100)]  # what similarities are multiplied by
    learn_scale: bool  # the scale begins at logit_scale and is learned, at most 100
    mask_duplicates: bool  # pieces of one text in a batch are not told apart


class ClampConfig(SharedSpaceConfig):
    """CLaMP 3: three towers, trained stage after stage."""

    audio: AudioArchitecture
    # In this order. The schema, too, takes no other names.
    stages: Annotated[
        dict[StageName, ClampStage],
        Field(min_length=1, json_schema_extra={"additionalProperties": False}),
    ]


class Clamp2Config(SharedSpaceConfig, ContrastConfig):
    """CLaMP 2: a text tower and a symbolic one, trained from its own manifests."""

    manifests: str | None  # folder of train, validation and test.jsonl; null: made from summaries

    @property
    def modality(self) -> str:
        """What its music is: the one thing that a stage of CLaMP 3 can choose and it cannot."""
        return "symbolic"


class GuardConfig(Section):
    """Whether an adapter makes the retrieval of another collection worse than the base's."""

    abc: str | None  # the collection, by the format of the adapter; null: none
    mtf: str | None
    pieces: Annotated[int, Field(ge=2)]  # of it at most, chosen by a hash of their ids
    max_fall: Share  # of the mean reciprocal rank, by the base's
    action: Literal["stop", "warn", "none"]  # stop: keep what passed. none: do not measure


class LoraConfig(Section):
    """Adapters of the symbolic tower, one per format."""

    rank: Positive
    alpha: Positive  # what the adapter adds is multiplied by alpha / rank
    dropout: Share
    targets: tuple[str, ...]  # linear layers of the tower's BERT, by the ends of their names
    text_dropout: TextDropout
    guard: GuardConfig
    training: TrainingConfig


class RecordingChunks(Section):
    """Which parts of a recording CLAP-MusicGen reads."""

    start_seconds: Annotated[float, Field(ge=0)]  # left out at the beginning
    chunk_seconds: PositiveFloat  # read at once
    chunks: Positive  # of a recording at most, one after the other
    min_seconds: PositiveFloat  # a shorter chunk is left out


class MusicgenReading(Section):
    """How MusicGen's decoder makes one vector of the codes of a chunk."""

    # constant: every frame has the first one's position, which is what transformers gives to
    # inputs that come as vectors, and so the published model; counted: 0, 1, 2 …, as MusicGen was
    # trained.
    positions: Literal["constant", "counted"]
    # aligned: the codes of one frame together (published); delayed: codebook k is k steps late and
    # the sequence begins with padding, as MusicGen was trained.
    codebooks: Literal["aligned", "delayed"]
    pooling: Literal["last", "mean"]  # of the hidden states; published: last
    layer: Positive | None  # whose states; null: the last one's, normalised (published)


class MusicgenArchitecture(Section):
    """Sizes of a MusicGen with random weights, for trials where no published one is at hand."""

    filters: Positive  # of the codec's first layer; doubled four times
    codebook_size: Positive  # a power of 2
    codebooks: Positive  # codes in a frame
    hidden_size: Positive  # of the decoder
    layers: Layers
    heads: Positive


class MaskedTextConfig(Section):
    """Tuning the text model of CLAP-MusicGen on captions: hidden tokens are to be found."""

    mask_share: Share  # of the tokens
    training: TrainingConfig


class CodesConfig(Section):
    """Which codes CLAP-MusicGen reads, of which parts of a recording."""

    musicgen: str  # folder or hub name
    # What the pipeline makes in data/musicgen; null: `musicgen` is there.
    new_musicgen: MusicgenArchitecture | None
    codec: str | None  # an EnCodec, folder or hub name; null: the one in `musicgen`
    recordings: RecordingChunks
    max_rejected_share: Share  # of the recordings


class StatesConfig(Section):
    """What CLAP-MusicGen takes from MusicGen, which stays as it is."""

    reading: MusicgenReading


class ClapTextConfig(Section):
    """What CLAP-MusicGen's text model reads, and how it is tuned."""

    captions: Annotated[tuple[str, ...], Field(min_length=1)]  # keys of a manifest, put together
    text: TextArchitecture  # pretrained: a RoBERTa or XLM-R
    masked_text: MaskedTextConfig | None  # null: `text.pretrained` stays as it is


class ClapHeadsConfig(Section):
    """How CLAP-MusicGen learns to rank recordings and captions alike."""

    width: Positive  # of the shared space
    head_width: Positive  # of the heads' inner layers
    fit_heads: bool  # they begin with the states' own mean and deviation (published: no)
    freeze_text: bool  # the text model; its head always learns
    loss: Literal["listmle", "listnet", "infonce"]
    standardise: bool  # scores row by row, to mean 0 and deviation 1 (published)
    logit_scale: Annotated[float, Field(gt=0, le=100)]  # what similarities are multiplied by before
    training: TrainingConfig


class PipelineTextConfig(ClapTextConfig):
    """The same for the pipeline, which always tunes it."""

    masked_text: MaskedTextConfig


class ClapEvaluationConfig(Section):
    """Retrieval figures of CLAP-MusicGen."""

    hits_at: Annotated[tuple[Positive, ...], Field(min_length=1)]


class ClapMusicgenConfig(CodesConfig, StatesConfig, ClapTextConfig, ClapHeadsConfig):
    """CLAP-MusicGen: MusicGen hears, RoBERTa reads, two heads meet."""

    @classmethod
    def of(cls, *sections: Section) -> "ClapMusicgenConfig":
        """What the sections `codes`, `states`, `clap_text` and `clap_heads` say together.

        Raises ConfigError where they do not fit each other.
        """
        values = {key: value for section in sections for key, value in section}
        return check(cls, values, "codes, states, clap_text and clap_heads")

    @model_validator(mode="after")
    def _has_text_model(self) -> "ClapMusicgenConfig":
        if self.text.pretrained is None and self.masked_text is None:
            raise ValueError("text.pretrained and masked_text are null: no text model")
        return self

    @model_validator(mode="after")
    def _is_one_list(self) -> "ClapMusicgenConfig":
        if self.training.processes * self.training.nodes > 1:
            raise ValueError(
                "training.processes, nodes: the loss ranks a batch as one list; expected 1 process"
            )
        return self


class EmbedConfig(Section):
    """Vectors of collections."""

    batch_tokens: Positive  # patches, tokens or frames computed at once
    threads: Positive


class EvaluateConfig(Section):
    """Retrieval figures."""

    text_field: Literal["background", "analysis", "description", "scene"]
    hits_at: tuple[Positive, ...]
    num_abc: Positive | None  # pieces of the LoRA project's reports; null: all
    num_mtf: Positive | None


class SpaceConfig(Section):
    """How the space of the embeddings is described."""

    columns: tuple[str, ...]  # metadata to colour maps and compare neighbours by; none: found out
    layout: Literal["principal", "neighbours"]  # maps by principal axes, or by t-SNE
    map_points: Positive  # vectors drawn on a map, of all modalities together
    sample: Positive  # rows of each modality that figures are computed from, at most
    neighbours: Positive  # nearest pieces looked at
    pieces: NonNegative  # pieces whose neighbours are listed


class IndexConfig(Section):
    """The index of the whole corpus."""

    approximate: bool  # with faiss's lists for `clamp3 search --approximate`; needs the extra `ann`
    recall: Share  # of the exact search's 10 best for held-out texts that those have to find


class ReportConfig(Section):
    """The page to look at."""

    examples: NonNegative  # queries shown with what was retrieved for them
    space: SpaceConfig


class Params(Section):
    """All of params.yaml."""

    seed: NonNegative
    shards: Positive
    splits: Splits
    corpus: CorpusConfig
    parse: ParseConfig
    limits: LimitsConfig
    abc: ConversionConfig
    interleave: ConversionConfig
    mtf: MtfConfig
    audio: AudioConfig
    manifest: ManifestConfig
    m3: M3Config
    clamp3: ClampConfig
    lora: LoraConfig
    embed: EmbedConfig
    evaluate: EvaluateConfig
    codes: CodesConfig
    states: StatesConfig
    clap_text: PipelineTextConfig
    clap_heads: ClapHeadsConfig
    clap_musicgen: ClapEvaluationConfig
    summaries: PipelineSummariesConfig
    clamp2: Clamp2Config
    index: IndexConfig
    report: ReportConfig


Model = TypeVar("Model", bound=BaseModel)


def check(model: type[Model], values: object, where: str) -> Model:
    """`values` as a `model`; ConfigError with one line per fault, its place in `where`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(faults)) from error


def load_params(path: Path) -> Params:
    """The checked parameters of a params.yaml."""
    return check(Params, yaml.safe_load(Path(path).read_text(encoding="utf-8")), str(path))


def json_schema() -> dict:
    """The JSON schema of params.yaml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Params.model_json_schema(),
    }


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
