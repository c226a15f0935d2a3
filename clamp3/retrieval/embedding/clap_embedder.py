"""A CLAP-MusicGen with what it needs to embed a user's texts and recordings."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from clamp3.config import RecordingChunks
from clamp3.errors import ConfigError, FormatError
from clamp3.formats.audio.decoding import LOUDEST, RATES_HZ
from clamp3.formats.audio.resampling import resample
from clamp3.formats.modality import FileFormat
from clamp3.models.clap_musicgen.checkpoints import load_clap, save_clap
from clamp3.retrieval.embedding.clap_engine import (
    MOST_CHUNKS,
    SHORTEST_SECONDS,
    Chunked,
    ChunkReader,
    ClapChoice,
    ClapEngine,
)
from clamp3.retrieval.embedding.files import SourceEmbedder
from clamp3.retrieval.embedding.inputs import mean_of_channels
from clamp3.retrieval.embedding.outputs import Making
from clamp3.retrieval.embedding.segments import chosen_device
from clamp3.retrieval.embedding.sources import Source, read_piece
from clamp3.retrieval.vectors import Origin


class ClapEmbedder(SourceEmbedder):
    """A CLAP-MusicGen, ours or the original's, used as an Embedder is.

    `source`: a folder or a name on the hub; `tokenizer`: where the original's has its tokenizer
    from (see `load_clap`); `towers`, `device` and `dtype` as Embedder's. All vectors have length 1.
    """

    has_temporal = False

    def __init__(
        self,
        source: str | Path,
        *,
        towers: Sequence[str] | None = None,
        device: str | None = None,
        dtype: str = "float32",
        tokenizer: str | Path | None = None,
    ):
        self.source = source
        wanted = None if towers is None else tuple(towers)
        self._choice = ClapChoice(source, dtype, tokenizer, wanted)
        self.engine = ClapEngine(self._choice, chosen_device(device))
        self.config = self.engine.model.config

    @property
    def space(self) -> str:
        """The fingerprint of the model: vectors of one space can be compared."""
        return self.engine.loaded.fingerprint

    @property
    def towers(self) -> tuple[str, ...]:
        """Which of text and audio can be used."""
        return self.engine.model.towers

    @property
    def sample_rate_hz(self) -> int:
        """The rate at which the codec hears."""
        return self.config.codec.sampling_rate

    def origin(self, modalities: Iterable[str]) -> Origin:
        """What tables of this model's embeddings say of themselves."""
        return Origin(self.space, self.space, ",".join(sorted(set(modalities))), "")

    def embed_audio(
        self,
        audio: str | Path | Sequence[str | Path] | np.ndarray | Tensor,
        sample_rate_hz: int | None = None,
    ) -> np.ndarray:
        """The unit vectors [B, D], float32, of sound files, or of waveforms [B, S].

        A waveform [S] and a path give one row, and [B, 1, S] are mono waveforms too.
        `sample_rate_hz`: None is the codec's. Long recordings are read in chunks.

        Raises FormatError where one cannot be read, CheckpointError without an audio tower.
        """
        self.engine.check("audio")
        if isinstance(audio, str | Path):
            audio = [audio]
        if isinstance(audio, np.ndarray | Tensor):
            pieces = [self._chunked(row, sample_rate_hz) for row in _waveforms(audio)]
        else:
            pieces = [Chunked.read(Path(path), self._plan, self.sample_rate_hz) for path in audio]
        return self._stacked(self.engine.recordings(pieces))

    def embed(
        self,
        *,
        text: str | Path | None = None,
        recording: np.ndarray | bytes | Path | None = None,
        sample_rate_hz: int | None = None,
    ) -> np.ndarray:
        """The unit vector [D] of one piece: a `text`, or a `recording` as a file, its bytes, or a
        waveform [S] or [channels, S] with its `sample_rate_hz`. A Path stands for a file.

        Raises FormatError where it cannot be read, CheckpointError without such a tower.
        """
        if (text is None) == (recording is None):
            raise ConfigError("embed: expected one of text, recording")
        if isinstance(text, Path):
            text = read_piece(Source(text.name, text, FileFormat.TEXT))
        if text is not None:
            return self.embed_text(text)
        if isinstance(recording, np.ndarray):
            if sample_rate_hz is None:
                raise ConfigError("recording: a waveform needs its sample_rate_hz")
            return self.embed_audio(mean_of_channels(recording), sample_rate_hz)[0]
        self.engine.check("audio")
        piece = Chunked.read(recording, self._plan, self.sample_rate_hz)
        return self.engine.recordings([piece])[0]

    def making(self, sources: Sequence[Source], *, temporal: bool = False) -> Making:
        """What outputs say of how the embeddings of these files are made."""
        self._refuse_temporal(temporal)
        good = [source for source in sources if self.refusal(source) is None]
        settings = {"dtype": self._choice.dtype}
        origin = self.origin(source.modality for source in good)
        return Making(origin, settings, False, self.config.width if good else None)

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the model as a folder of this package, whichever kind it was read from.

        Raises ConfigError for the folder it was read from.
        """
        self._refuse_own_folder(save_directory)
        loaded = load_clap(self.source, tokenizer=self._choice.tokenizer)
        notes = {"from": str(self.source)}
        save_clap(loaded.model, Path(save_directory), tokenizer=loaded.tokenizer, notes=notes)

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._stacked(self.engine.texts(texts))

    def _stacked(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(vectors) if vectors else np.empty((0, self.config.width), np.float32)

    @property
    def _plan(self) -> RecordingChunks:
        return RecordingChunks(
            start_seconds=0.0,
            chunk_seconds=self.config.chunk_seconds,
            chunks=MOST_CHUNKS,
            min_seconds=SHORTEST_SECONDS,
        )

    def _chunked(self, waveform: np.ndarray, sample_rate_hz: int | None) -> Chunked:
        rate = self.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
        if not RATES_HZ[0] <= rate <= RATES_HZ[1] or rate % 1:
            raise FormatError("bad_sample_rate", f"a sample rate of {rate} Hz")
        if not len(waveform):
            raise FormatError("no_samples", "the waveform holds no samples")
        with np.errstate(over="ignore"):  # told by what comes of it
            waveform = waveform.astype(np.float32)
        if not (np.abs(waveform) < LOUDEST).all():
            raise FormatError("not_finite", "the waveform holds NaN, infinity or huge values")
        heard = resample(waveform, int(rate), self.sample_rate_hz)
        return Chunked.of(heard, self._plan, self.sample_rate_hz)

    def refusal(self, source: Source) -> FormatError | None:
        """Why the file cannot be embedded, whatever it holds."""
        tower = "audio" if source.is_sound else source.modality
        if source.modality == "audio" and not source.is_sound:
            return FormatError("no_tower", "features of another model; expected sound")
        if tower not in self.towers:
            return FormatError("no_tower", f"the model has no {tower} tower to read it")
        return None

    def reader(self, *, sound: bool = True) -> ChunkReader:
        """What reads files for it."""
        rate = self.sample_rate_hz if "audio" in self.towers else 0
        return ChunkReader(patch_size=0, plan=self._plan, rate_hz=rate)


def _waveforms(audio: np.ndarray | Tensor) -> np.ndarray:
    """[B, S] floats. Raises FormatError bad_waveform."""
    values = audio
    if isinstance(audio, Tensor):  # numpy knows no bfloat16
        values = (audio.float() if audio.is_floating_point() else audio).detach().cpu().numpy()
    if values.ndim == 3 and values.shape[1] == 1:
        values = values[:, 0]
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or values.dtype.kind != "f":
        raise FormatError(
            "bad_waveform",
            f"a waveform of {values.dtype} and shape {list(audio.shape)}; expected floats of full "
            "scale 1, [samples], [batch, samples] or [batch, 1, samples]",
        )
    return values
