"""Who plays a MIDI file: FluidSynth with a SoundFont where there is one, else our synthesiser."""

import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import mido
import numpy as np

from clamp3.errors import ConfigError, FormatError
from clamp3.files import sha256_of
from clamp3.formats.audio import read_audio
from clamp3.formats.synthesis.notes import read_midi, read_notes, timed_messages
from clamp3.formats.synthesis.rendering import PEAK, render_midi

VARIABLE = "CLAMP3_SOUNDFONT"  # a SoundFont's path, or `none` for the own synthesiser
SOUNDFONT_FOLDERS = (
    "/usr/share/sounds/sf3",
    "/usr/share/sounds/sf2",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
)
LIMIT_SECONDS = 300  # of computing, for one piece
TICKS_PER_SECOND = 1000  # of the shortened MIDI file, at the default 120 quarter notes a minute
TAIL_SECONDS = 1.0  # the last notes die away


class Renderer(Protocol):
    """Plays MIDI files; `name` tells which sound the features come from."""

    name: str

    def render(self, midi: Path | bytes, seconds: float, sample_rate_hz: int) -> np.ndarray:
        """The beginning of the file as float32 [S], mono. Raises FormatError."""
        ...


@dataclass(frozen=True)
class OwnSynthesiser:
    """The synthesiser of this package."""

    name: str = "clamp3 synthesiser"

    def render(self, midi: Path | bytes, seconds: float, sample_rate_hz: int) -> np.ndarray:
        """See render_midi."""
        return render_midi(midi, seconds, sample_rate_hz)


@dataclass(frozen=True)
class FluidSynth:
    """The fluidsynth program and a SoundFont; `name` holds the version and the font's hash."""

    program: str
    soundfont: Path
    name: str

    def render(self, midi: Path | bytes, seconds: float, sample_rate_hz: int) -> np.ndarray:
        """The beginning of the file as float32 [S], peak at 0.9.

        FluidSynth gets the beginning alone, without system exclusive messages.
        Raises FormatError as render_midi does, and renderer_failed.
        """
        read_notes(midi, seconds)
        with tempfile.TemporaryDirectory() as folder:
            beginning, sound = Path(folder, "piece.mid"), Path(folder, "piece.wav")
            beginning.write_bytes(_beginning(read_midi(midi), seconds))
            self._run(beginning, sound, sample_rate_hz)
            waveform = read_audio(sound, sample_rate_hz)[: round(seconds * sample_rate_hz)]
        peak = np.abs(waveform).max(initial=0.0)
        if peak == 0:
            raise FormatError("renderer_failed", f"{self.name} renders silence")
        return waveform * np.float32(PEAK / peak)

    def _run(self, midi: Path, sound: Path, sample_rate_hz: int) -> None:
        options = ["-ni", "-q", "-r", str(sample_rate_hz), "-T", "wav", "-F", str(sound)]
        command = [self.program, *options, str(self.soundfont), str(midi)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=LIMIT_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FormatError("renderer_failed", f"{self.name}: {error}") from error
        if done.returncode or not sound.is_file():
            said = (done.stderr or done.stdout).strip()[-300:]
            raise FormatError(
                "renderer_failed", f"{self.name} ends with status {done.returncode}: {said}"
            )


def find_renderer(environment: Mapping[str, str] = os.environ) -> Renderer:
    """FluidSynth where it is installed with a SoundFont, else the package's own synthesiser.

    The environment variable CLAMP3_SOUNDFONT names the SoundFont, or says `none`: then the own
    synthesiser plays, as it does on a machine without FluidSynth, with the same result everywhere.
    Raises ConfigError where the variable names no file, or FluidSynth is missing then.
    """
    wish = environment.get(VARIABLE, "")
    if wish.lower() == "none":
        return OwnSynthesiser()
    found = find_fluidsynth(Path(wish) if wish else None)
    if wish and found is None:
        raise ConfigError(f"{VARIABLE}: {wish}, but the program fluidsynth is not installed")
    return found or OwnSynthesiser()


def find_fluidsynth(soundfont: Path | None = None) -> FluidSynth | None:
    """FluidSynth with this SoundFont, or with the first that is installed; None without either.

    Raises ConfigError where `soundfont` is no file.
    """
    if soundfont is not None and not soundfont.is_file():
        raise ConfigError(f"SoundFont {soundfont}: no such file")
    program = shutil.which("fluidsynth")
    font = soundfont or _installed_soundfont()
    if program is None or font is None:
        return None
    name = f"fluidsynth {_version(program)}, {font.name} {sha256_of(font)[:12]}"
    return FluidSynth(program, font.resolve(), name)


def _installed_soundfont() -> Path | None:
    """The first SoundFont in the usual folders; a file named default comes first."""
    for folder in SOUNDFONT_FOLDERS:
        fonts = [p for p in Path(folder).glob("*") if p.suffix.lower() in (".sf2", ".sf3")]
        if fonts:
            return min(fonts, key=lambda path: (not path.name.startswith("default"), path.name))
    return None


def _version(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return "(unknown version)"
    number = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return number[0] if number else "(unknown version)"


def _beginning(whole: mido.MidiFile, seconds: float) -> bytes:
    """A MIDI file of one track with the channel messages before `seconds`, and then silence."""
    track = mido.MidiTrack()
    ticks = 0
    for at, message in timed_messages(whole):
        if at >= seconds:
            break
        if hasattr(message, "channel"):
            track.append(message.copy(time=round(at * TICKS_PER_SECOND) - ticks))
            ticks = round(at * TICKS_PER_SECOND)
    end = round((seconds + TAIL_SECONDS) * TICKS_PER_SECOND) - ticks
    track.append(mido.MetaMessage("end_of_track", time=end))
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_SECOND // 2, tracks=[track])
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()
