"""The towers of a model, loaded when a piece needs them, and what they make of groups of pieces."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.files import sha256_of
from clamp3.formats.audio import MelFrontEnd, Recording
from clamp3.formats.images import Picture
from clamp3.models.adapters import load_adapted
from clamp3.models.bfloat16 import suit_cpu
from clamp3.models.checkpoints import (
    DTYPES,
    M3_PARTS,
    M3CheckpointConfig,
    load_clamp,
    load_m3,
    read_config,
)
from clamp3.models.hub import resolve
from clamp3.retrieval.embedding.files import Group, Result
from clamp3.retrieval.embedding.reading import Piece
from clamp3.retrieval.embedding.segments import (
    TOWER_OF,
    Budget,
    Loaded,
    embed_rows,
    piece_rows,
    tower_of,
)
from clamp3.retrieval.features.rows import FrontEnd

if TYPE_CHECKING:
    from clamp3.models.captions import Captioner

NO_CAPTIONER = (
    "an image, and nothing that describes it in words: name a BLIP folder, or "
    "Salesforce/blip-image-captioning-base on the hub, with --captioner"
)


@dataclass(frozen=True)
class Choice:
    """Which model, and how it computes; see Embedder."""

    source: str | Path
    dtype: str = "float32"
    adapters: Mapping[str, Path] = field(default_factory=dict)  # by format
    mert: str | Path | None = None
    captioner: str | Path | None = None
    batch_tokens: int = 8192

    def __post_init__(self) -> None:
        dtype_of(self.dtype)


def dtype_of(name: str) -> torch.dtype:
    """The type of numbers. Raises ConfigError for a name that is none."""
    if name not in DTYPES:
        raise ConfigError(f"dtype {name}: expected one of {', '.join(DTYPES)}")
    return DTYPES[name]


class Engine:
    """The model of a choice on one device; `only`: the towers that can be used, None: all."""

    def __init__(self, choice: Choice, device: str, only: Sequence[str] | None = None):
        self.choice = choice
        self.device = device
        self.config = read_config(resolve(choice.source, ()))
        if self.is_m3 and choice.adapters:
            raise ConfigError(f"{choice.source}: an M3; adapters are for CLaMP's symbolic tower")
        self._only = only
        self._budget = Budget(choice.batch_tokens)
        self._loaded: dict[tuple[str, Path | None], Loaded] = {}  # by tower and adapter
        self._front_end: FrontEnd | None = None
        self._captioner: Captioner | None = None

    @property
    def is_m3(self) -> bool:
        """Whether it is an M3 model, which has hidden states only."""
        return isinstance(self.config, M3CheckpointConfig)

    @property
    def towers(self) -> tuple[str, ...]:
        """Which of text, symbolic and audio can be used."""
        has = ("symbolic",) if self.is_m3 else self.config.architecture.towers
        return has if self._only is None else tuple(name for name in has if name in self._only)

    @property
    def patch_size(self) -> int:
        """The characters in a patch; 0 without a symbolic tower."""
        sizes = self.config.architecture
        symbolic = sizes if self.is_m3 else sizes.symbolic
        return symbolic.patch_size if symbolic else 0

    def width(self, modality: str, temporal: bool) -> int:
        """The length of the vectors that become of such pieces."""
        architecture = self.config.architecture
        if self.is_m3:
            return architecture.hidden_size
        sizes = getattr(architecture, TOWER_OF[modality])
        return sizes.hidden_size if temporal else architecture.width

    def check(self, modality: str) -> None:
        """Raise CheckpointError where the model does not read such pieces."""
        name = TOWER_OF[modality]
        if name not in self.towers:
            raise CheckpointError(
                f"{modality}: {self.choice.source} has no {name} tower "
                f"(only {', '.join(self.towers)})"
            )

    def weights_of(self, modality: str) -> tuple[str, Path | None]:
        """The tower that reads such pieces, and the adapter that it has for them."""
        return TOWER_OF[modality], self.choice.adapters.get(modality)

    def loaded(self, modality: str) -> Loaded:
        """The model that reads such pieces."""
        self.load(TOWER_OF[modality])
        return self._loaded[self.weights_of(modality)]

    def load(self, tower: str) -> None:
        """Read the tower's weights, with all its adapters, if that is still to be done."""
        own = [modality for modality, name in TOWER_OF.items() if name == tower]
        keys = list(dict.fromkeys(map(self.weights_of, own)))
        if keys[0] in self._loaded:
            return
        if self.choice.adapters and tower == "symbolic":
            folder = resolve(self.choice.source, [tower])
            dtype, adapters = DTYPES[self.choice.dtype], [adapter for _, adapter in keys]
            made = load_adapted(folder, adapters, device=self.device, dtype=dtype)
        else:
            made = [self._load(tower)] * len(keys)
        self._loaded |= zip(keys, made, strict=True)

    def _load(self, name: str) -> Loaded:
        dtype = DTYPES[self.choice.dtype]
        folder = resolve(self.choice.source, M3_PARTS if self.is_m3 else [name])
        if self.is_m3:
            m3 = load_m3(folder, device=self.device, dtype=dtype)
            suit_cpu(m3)
            return m3
        loaded = load_clamp(folder, towers=[name], device=self.device, dtype=dtype)
        suit_cpu(loaded.model)
        return loaded

    def results(
        self, pieces: Sequence[tuple[str, Piece | FormatError | None]], *, temporal: bool = False
    ) -> list[Result]:
        """What becomes of each (modality, piece): an embedding, or why there is none; None stays.

        Raises CheckpointError where the model has no such tower.
        """
        found: list = [piece for _, piece in pieces]
        for modality in dict.fromkeys(modality for modality, _ in pieces):
            self.check(modality)
        for weights in dict.fromkeys(self.weights_of(modality) for modality, _ in pieces):
            own = [
                place
                for place, (modality, piece) in enumerate(pieces)
                if self.weights_of(modality) == weights and isinstance(piece, Piece)
            ]
            results = self._by_weights([pieces[place] for place in own], temporal)
            for place, result in zip(own, results, strict=True):
                found[place] = result
        return found

    def group_results(self, group: Group, temporal: bool = False) -> list[Result]:
        """The results of a group of files."""
        pieces = [(source.modality, prepared.piece) for source, prepared in group]
        return self.results(pieces, temporal=temporal)

    def _by_weights(self, pieces: Sequence[tuple[str, Piece]], temporal: bool) -> Iterator[Result]:
        rows = [self._rows(modality, piece) for modality, piece in self._described(pieces)]
        good = [own for own in rows if not isinstance(own, FormatError)]
        found = iter(())
        if good:
            tower = tower_of(self.loaded(pieces[0][0]), pieces[0][0])
            found = iter(embed_rows(tower, good, self._budget, temporal=temporal))
        for own in rows:
            yield own if isinstance(own, FormatError) else self._finite(next(found))

    def _described(
        self, pieces: Sequence[tuple[str, Piece]]
    ) -> Iterator[tuple[str, str | np.ndarray | FormatError]]:
        """The same pieces with features instead of recordings and texts instead of pictures.

        All recordings go together, and all pictures.
        """
        recordings = [piece for _, piece in pieces if isinstance(piece, Recording)]
        pixels = [piece.pixels for _, piece in pieces if isinstance(piece, Picture)]
        made = iter(self.front_end().features_of(recordings) if recordings else ())
        said = iter(self.captioner().describe(pixels) if pixels else ())
        for modality, piece in pieces:
            if isinstance(piece, Recording):
                piece = next(made)
            elif isinstance(piece, Picture):
                piece = next(said) or FormatError("no_caption", "the captioner says nothing of it")
            yield modality, piece

    def _rows(
        self, modality: str, piece: str | np.ndarray | FormatError
    ) -> torch.Tensor | FormatError:
        if isinstance(piece, FormatError):
            return piece
        try:
            return piece_rows(self.loaded(modality), modality, piece)
        except FormatError as error:
            return error

    def _finite(self, result: np.ndarray) -> Result:
        if np.isfinite(result).all():
            return result
        half = self.choice.dtype == "float16"
        hint = "; float16 cannot hold numbers that large: try bfloat16" if half else ""
        return FormatError("not_finite", f"its embedding is not finite{hint}")

    def captioner(self) -> "Captioner":
        """What describes images. Raises ConfigError where none was given."""
        if self.choice.captioner is None:
            raise ConfigError(NO_CAPTIONER)
        if self._captioner is None:
            from clamp3.models.captions import Captioner

            self._captioner = Captioner.load(self.choice.captioner, self.device)
        return self._captioner

    def front_end(self) -> FrontEnd:
        """What describes sound. Raises ConfigError where a MERT is needed and was not given."""
        if self._front_end is None:
            self._front_end = self._new_front_end()
        return self._front_end

    def _new_front_end(self) -> FrontEnd:
        wanted = self.config.architecture.audio.feature_size
        if self.choice.mert is None:
            if wanted != MelFrontEnd.feature_size:
                raise ConfigError(
                    f"{self.choice.source}: reads recordings as frames of width {wanted}, which "
                    f"the built-in front end (width {MelFrontEnd.feature_size}) does not make; "
                    "name a MERT checkpoint folder with --mert, or give .npy features"
                )
            return MelFrontEnd()
        from clamp3.models.mert import MertFrontEnd

        return MertFrontEnd(self.choice.mert, self.device)


def mert_hash(folder: str | Path | None) -> str | None:
    """What tells one MERT from another: the hash of its weights. Raises CheckpointError."""
    if folder is None:
        return None
    from clamp3.models.mert import mert_folder

    files = [
        path
        for pattern in ("model*.safetensors", "pytorch_model*.bin")
        for path in sorted(mert_folder(folder).glob(pattern))
    ]
    if not files:
        raise CheckpointError(f"{folder}: holds no weights; expected the folder of a MERT")
    return hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()
