"""Bodies of made corpora: real files of music21's corpus, long and short as those of data sets."""

import io
import random
import re
import tempfile
import zipfile
from itertools import cycle
from pathlib import Path

LARGEST_SCORE_BYTES = 40_000  # so that the mean is PDMX's: 1.9 GB for 254,077 scores
# How many of music21's performances play together in one of PDMX's (842 bytes of its .tar.gz a
# file) and in one of Lakh's (about 32 kB a file).
ENSEMBLE, BAND = (1, 6), (12, 36)
WIDTH, FEATURE_SIZE, WINDOW = 32, 64, 512  # of the model; published: patches in a window
_TEXTS = ["a quiet river", "a slow and tender melody over strings", "in spring"]
_MEASURE = re.compile(rb"<measure\s.*?</measure>", re.DOTALL)
_ENCODING = re.compile(rb"encoding=['\"][^'\"]*['\"]")  # without, XML is UTF-8
_PART = re.compile(rb"(<part\s[^>]*>)(.*?)(</part>)", re.DOTALL)


def write_bodies(folder: Path, count: int) -> None:
    """Put `count` scores, performances and bands into folder/mxl, folder/mid and folder/band,
    and a small model into folder/model."""
    for kind in ("mxl", "mid", "band"):
        (folder / kind).mkdir(parents=True)
    for number, path in enumerate(_scores(count)):
        (folder / "mxl" / f"{number:04d}.mxl").write_bytes(path.read_bytes())
    performances, dice = _performances(count), random.Random(0)
    for kind, (fewest, most) in (("mid", ENSEMBLE), ("band", BAND)):
        for number in range(count):
            players = dice.choices(performances, k=dice.randint(fewest, most))
            (folder / kind / f"{number:04d}.mid").write_bytes(_together(players))
    write_model(folder / "model")


def _scores(count: int) -> list[Path]:
    """Compressed MusicXML files of music21's corpus, from the smallest to the largest allowed."""
    from music21.corpus import corpora

    found = [path for path in corpora.CoreCorpus().getPaths() if str(path).endswith(".mxl")]
    fit = [(path.stat().st_size, str(path)) for path in map(Path, found)]
    fit = sorted(one for one in fit if one[0] <= LARGEST_SCORE_BYTES)
    return [Path(fit[len(fit) * (2 * place + 1) // (2 * count)][1]) for place in range(count)]


def _performances(count: int) -> list[bytes]:
    from clamp3.config import CorpusConfig, Splits
    from clamp3.data.demo_corpus import build_demo_corpus

    reels, airs = count - count // 2, count // 5
    chorales = count - reels - airs
    with tempfile.TemporaryDirectory() as place:
        corpus = CorpusConfig(
            source="demo",
            folder="data/demo",
            ryans_mammoth=reels,
            oneills_1850=airs,
            bach_chorales=chorales,
        )
        splits = Splits(validation_share=0.0, test_share=0.0)
        build_demo_corpus(Path(place), corpus, splits, seed=1, workers=1)
        return [path.read_bytes() for path in sorted((Path(place) / "mid").rglob("*.mid"))]


def _together(players: list[bytes]) -> bytes:
    """The performances at once, on channels of their own as long as there are some."""
    import mido

    songs = [mido.MidiFile(file=io.BytesIO(content)) for content in players]
    band = mido.MidiFile(type=1, ticks_per_beat=songs[0].ticks_per_beat)
    channels = cycle(channel for channel in range(16) if channel != 9)  # 9: drums
    for song, channel in zip(songs, channels, strict=False):
        for track in song.tracks:
            notes = [m.copy(channel=channel) if hasattr(m, "channel") else m for m in track]
            band.tracks.append(mido.MidiTrack(notes))
    content = io.BytesIO()
    band.save(file=content)
    return content.getvalue()


def texts_of(store: str, bodies: Path, kind: str) -> dict[int, str]:
    """What the step of a store makes of each body of a kind (mxl, mid, band), by its number."""
    from clamp3.formats.abc import interleave_abc
    from clamp3.formats.mtf import read_midi
    from clamp3.formats.musicxml import musicxml_to_abc

    found = {}
    for path in sorted((bodies / kind).iterdir()):
        text = read_midi(path)[0] if store == "mtf" else musicxml_to_abc(path)
        found[int(path.stem)] = interleave_abc(text) if store == "interleaved" else text
    return found


def print_sizes(bodies: Path) -> None:
    """Print what the mean body has: bytes as it came, as text and stored, patches and windows."""
    import pyarrow as pa

    from clamp3.files import write_table
    from clamp3.formats.patches import encode_patches

    print(f"{'a mean body':24}{'file':>9}{'text':>9}{'stored':>9}{'patches':>9}{'windows':>9}")
    for kind, store in (("mxl", "abc"), ("mxl", "interleaved"), ("mid", "mtf"), ("band", "mtf")):
        texts = list(texts_of(store, bodies, kind).values())
        file = sum(path.stat().st_size for path in (bodies / kind).iterdir())
        with tempfile.TemporaryDirectory() as place:
            table = Path(place) / "part.parquet"
            write_table(table, pa.table({"text": texts}))
            stored = table.stat().st_size
        sums = [file, sum(len(text.encode()) for text in texts), stored]
        if store != "abc":
            patches = [len(encode_patches(text)) for text in texts]
            sums += [sum(patches), sum(-(-count // WINDOW) for count in patches)]
        means = "".join(f"{value / len(texts):9.{0 if value > 1e3 else 1}f}" for value in sums)
        print(f"{kind + ' as ' + store:24}{means}")


def write_model(folder: Path) -> None:
    """A CLaMP 3 of 32 dimensions with random weights and windows of 128 rows."""
    import torch

    from clamp3.config import M3Architecture
    from clamp3.models.checkpoints import save_checkpoint
    from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
    from clamp3.models.text import TextTowerConfig
    from clamp3.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(_TEXTS, 200)
    text = TextTowerConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=130,
        max_tokens=128,
    )
    symbolic = M3Architecture(
        patch_size=64, patch_length=128, hidden_size=64, encoder_layers=1, decoder_layers=1
    )
    audio = AudioTowerConfig(hidden_size=64, layers=1, max_frames=128, feature_size=FEATURE_SIZE)
    torch.manual_seed(0)
    config = ClampModelConfig(
        kind="clamp3", width=WIDTH, similarity="dot", text=text, symbolic=symbolic, audio=audio
    )
    save_checkpoint(ClampModel(config), folder, tokenizer=tokenizer)


def make_big(path: Path, bodies: Path, size: int) -> None:
    """Put in the place of a score or performance one of `size` bytes: a body's bars repeated.

    `.mxl`: so many bytes of MusicXML, of the largest body, so that it packs as scores do; `.mid`:
    of the file.
    """
    kind = path.suffix[1:]
    body = max(sorted((bodies / kind).iterdir()), key=lambda one: one.stat().st_size)
    content = _big_score(body, size) if kind == "mxl" else _big_performance(body, size)
    path.unlink()  # a link: the body stays
    path.write_bytes(content)


def _big_score(source: Path, size: int) -> bytes:
    with zipfile.ZipFile(source) as archive:
        name = next(n for n in archive.namelist() if not n.startswith("META-INF"))
        text = archive.read(name)
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = _ENCODING.sub(b"", text.decode("utf-16").encode("utf-8"), count=1)
    bars = sum(map(len, _MEASURE.findall(text)))
    times = max(1, round((size - len(text) + bars) / bars))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, _PART.sub(lambda part: _repeated(part, times), text))
    return content.getvalue()


def _repeated(part: re.Match[bytes], times: int) -> bytes:
    bars = b"".join(_MEASURE.findall(part[2]))
    return part[1] + bars * times + part[3]


def _big_performance(source: Path, size: int) -> bytes:
    import mido

    song = mido.MidiFile(source)
    for track in song.tracks:
        events = [message for message in track if message.type != "end_of_track"]
        track[:] = events * max(1, round(size / source.stat().st_size))
    content = io.BytesIO()
    song.save(file=content)
    return content.getvalue()
