"""A model with what it needs to embed a user's texts, scores, performances and recordings."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from huggingface_hub import ModelHubMixin, snapshot_download

from clamp3.errors import ConfigError, FormatError
from clamp3.formats.audio import MelFrontEnd
from clamp3.models.adapters import FORMATS, Adapters, adapters_by_format
from clamp3.models.checkpoints import (
    CONFIG,
    KEEPS_UNIT_LENGTH,
    load_clamp,
    refuse_other_files,
    save_checkpoint,
)
from clamp3.models.hub import resolve
from clamp3.models.kinds import is_clap
from clamp3.retrieval.embedding.engine import NO_CAPTIONER, Choice, Engine, mert_hash
from clamp3.retrieval.embedding.files import SourceEmbedder
from clamp3.retrieval.embedding.inputs import given_piece
from clamp3.retrieval.embedding.outputs import Making
from clamp3.retrieval.embedding.reading import Piece, Reader
from clamp3.retrieval.embedding.segments import TOWER_OF, chosen_device
from clamp3.retrieval.embedding.sources import Source
from clamp3.retrieval.vectors import Origin

if TYPE_CHECKING:
    from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder


class Embedder(
    SourceEmbedder,
    ModelHubMixin,
    library_name="clamp3",
    tags=["music", "music-retrieval"],
    pipeline_tag="feature-extraction",
):
    """A model, read tower by tower when a piece needs it, or now where `towers` are named.

    `source`: a model folder or a name on the hub ("owner/name"); `device`: None takes a GPU where
    there is one; `dtype`: float32, bfloat16 or float16; `adapter`: a LoRA folder for the symbolic
    tower, or one for each format, `{"abc": folder, "mtf": folder}` (see `adapters_by_format`);
    `mert`: a MERT (a folder or a name on the hub) for sound, where the model's frames are not those
    of the built-in front end; `captioner`: a BLIP, likewise, that describes images for the text
    tower; `batch_tokens`: positions computed at once, halved when the memory does not suffice.

    `abc_as_is`: ABC goes to the model as it stands, see `score_text`. `keep_unit_length`: whether
    `L:1/8` stays in scores; None does what the originals' extraction does, which keeps it for CLaMP
    2 only (its training did not), unless the CLaMP 2 was trained here.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        towers: Sequence[str] | None = None,
        device: str | None = None,
        dtype: str = "float32",
        adapter: Adapters = None,
        mert: str | Path | None = None,
        captioner: str | Path | None = None,
        batch_tokens: int = 8192,
        abc_as_is: bool = False,
        keep_unit_length: bool | None = None,
    ):
        self.engine = Engine(
            Choice(source, dtype, adapters_by_format(adapter), mert, captioner, batch_tokens),
            chosen_device(device),
            towers,
        )
        self.source = source
        self.config = self.engine.config
        self._abc_as_is = abc_as_is
        if keep_unit_length is None:
            is_clamp2 = self.config.kind == "clamp2"
            keep_unit_length = is_clamp2 and self.config.notes.get(KEEPS_UNIT_LENGTH, True)
        self._keep_unit_length = keep_unit_length
        for tower in towers or ():
            self.engine.load(tower)

    @property
    def space(self) -> str:
        """The fingerprint of the model without adapter: vectors of one space can be compared."""
        return self.config.fingerprint

    @property
    def towers(self) -> tuple[str, ...]:
        """Which of text, symbolic and audio can be used."""
        return self.engine.towers

    def origin(self, modalities: Iterable[str]) -> Origin:
        """What tables of this model's embeddings say of themselves."""
        names = sorted(set(modalities))
        return Origin(self._fingerprint(names), self.space, ",".join(names), "")

    def _fingerprint(self, modalities: Sequence[str]) -> str:
        """The weights' that embed these: several adapters make another of their fingerprints."""
        adapters = self.engine.choice.adapters
        own = [modality for modality in modalities if modality in FORMATS]
        if not any(modality in adapters for modality in own):
            return self.space
        prints = {modality: self.engine.loaded(modality).fingerprint for modality in own}
        if len(set(prints.values())) == 1:
            return prints[own[0]]
        return hashlib.sha256(json.dumps(prints, sort_keys=True).encode()).hexdigest()

    def embed(
        self,
        *,
        text: str | Path | None = None,
        score: str | bytes | Path | None = None,
        performance: str | bytes | Path | None = None,
        recording: np.ndarray | bytes | Path | None = None,
        features: np.ndarray | Path | None = None,
        image: bytes | Path | None = None,
        sample_rate_hz: int | None = None,
        temporal: bool = False,
    ) -> np.ndarray:
        """The embedding [D], float32, of one piece; with `temporal` its hidden states [N, D].

        Give one of: `text`; `score` as ABC text (standard or interleaved) or the bytes of a
        MusicXML or ABC file; `performance` as MTF text or the bytes of a MIDI or MTF file;
        `recording` as a waveform [S] or [channels, S] with its `sample_rate_hz`, or the bytes of a
        sound file; `features` [F, E] or [1, F, E]; `image` as the bytes of a PNG, JPEG or WebP
        file, which needs a captioner. A Path stands for a file of that kind.

        Raises FormatError where it cannot be read, CheckpointError without such a tower.
        """
        given = {
            "text": text,
            "score": score,
            "performance": performance,
            "recording": recording,
            "features": features,
            "image": image,
        }
        named = [(name, value) for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise ConfigError(
                f"embed: {len(named)} pieces given; expected one of {', '.join(given)}"
            )
        modality, piece = given_piece(*named[0], sample_rate_hz, as_is=self._abc_as_is)
        if modality in ("abc", "mtf"):
            self.engine.check(modality)
            piece = self.reader(sound=False).patches(piece)
        return self._embed([(modality, piece)], temporal)[0]

    def making(self, sources: Sequence[Source], *, temporal: bool = False) -> Making:
        """What outputs say of how the embeddings of these files are made."""
        good = [source for source in sources if self.refusal(source) is None]
        modalities = sorted({source.modality for source in good})
        settings = {
            "dtype": self.engine.choice.dtype,
            "abc_as_is": self._abc_as_is,
            "keep_unit_length": self._keep_unit_length,
            "mert": mert_hash(self.engine.choice.mert),
        }
        if "image" in modalities:
            from clamp3.models.captions import captioner_hash

            settings["captioner"] = captioner_hash(self.engine.choice.captioner)
        widths = {self.engine.width(modality, temporal) for modality in modalities}
        width = widths.pop() if len(widths) == 1 else None
        return Making(self.origin(modalities), settings, temporal, width)

    def save_pretrained(self, save_directory: str | Path, **options: object) -> str | None:
        """Write the model as a folder that `load_model` and `from_pretrained` read.

        An adapter is merged into the weights, which read scores and performances alike from then
        on. Raises ConfigError for the folder it was read from, or for two adapters.
        """
        self._refuse_own_folder(save_directory)
        adapters = {str(folder) for folder in self.engine.choice.adapters.values()}
        if len(adapters) > 1:
            raise ConfigError(
                f"{', '.join(sorted(adapters))}: two adapters cannot be merged into one model; "
                "save it with one of them, or without and their folders beside it"
            )
        if adapters:
            refuse_other_files(Path(save_directory))
        return super().save_pretrained(save_directory, **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        folder = resolve(self.source, None)
        adapter = next(iter(self.engine.choice.adapters.values()), None)
        if adapter is not None:
            merged = load_clamp(folder, adapter=adapter)
            notes = {**self.config.notes, "merged_adapter": str(adapter)}
            save_checkpoint(merged.model, save_directory, tokenizer=merged.tokenizer, notes=notes)
            return
        for part in self.config.parts:
            name = "tokenizer.json" if part == "tokenizer" else f"{part}.safetensors"
            shutil.copyfile(folder / name, save_directory / name)
        for name in (CONFIG, "tokenizer_config.json"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, save_directory / name)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **options: object,
    ) -> "Embedder":
        if Path(model_id).is_dir():
            return cls(model_id, **options)
        folder = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return cls(folder, **options)

    def refusal(self, source: Source) -> FormatError | None:
        """Why the file cannot be embedded, whatever it holds."""
        name = TOWER_OF[source.modality]
        if name not in self.towers:
            return FormatError("no_tower", f"the model has no {name} tower to read it")
        if source.modality == "image" and self.engine.choice.captioner is None:
            return FormatError("no_captioner", NO_CAPTIONER)
        return None

    def _embed(
        self, pieces: Sequence[tuple[str, Piece]], temporal: bool = False
    ) -> list[np.ndarray]:
        results = self.engine.results(pieces, temporal=temporal)
        for result in results:
            if isinstance(result, FormatError):
                raise result
        return results

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        found = self._embed([("text", text) for text in texts])
        return np.stack(found) if found else np.empty((0, self.engine.width("text", False)), "f4")

    def reader(self, *, sound: bool) -> Reader:
        """What reads files for it; `sound`: whether there is a sound file among them."""
        front_end = self.engine.front_end() if sound else None
        return Reader(
            patch_size=self.engine.patch_size,
            keep_unit_length=self._keep_unit_length,
            as_is=self._abc_as_is,
            front_end=front_end if isinstance(front_end, MelFrontEnd) else None,
        )


def load_model(
    source: str | Path,
    *,
    towers: Sequence[str] | None = None,
    device: str | None = None,
    dtype: str = "float32",
    adapter: Adapters = None,
    mert: str | Path | None = None,
    captioner: str | Path | None = None,
    batch_tokens: int = 8192,
    **reading: bool | None,
) -> "Embedder | ClapEmbedder":
    """The model of a folder or of a name on the hub ("owner/name"), ready to embed.

    Only the files of towers that are used are read; those named in `towers` are read now, and no
    other can be used. All options, `abc_as_is` and `keep_unit_length` too, are those of Embedder.
    A CLAP-MusicGen is a ClapEmbedder, which reads texts and recordings.

    Raises CheckpointError where there is no such model or tower, or its files are damaged.
    """
    if is_clap(source):
        from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder

        options = {"adapter": adapter, "captioner": captioner, "mert": mert}
        unused = [name for name, value in options.items() if value is not None]
        if unused:
            raise ConfigError(
                f"{source} is a CLAP-MusicGen, which has no use for {', '.join(unused)}"
            )
        return ClapEmbedder(source, towers=towers, device=device, dtype=dtype)
    return Embedder(
        source,
        towers=towers,
        device=device,
        dtype=dtype,
        adapter=adapter,
        mert=mert,
        captioner=captioner,
        batch_tokens=batch_tokens,
        **reading,
    )
