"""MIDI files as sound: a small synthesiser without a SoundFont, or FluidSynth with one."""

from clamp3.formats.synthesis.renderers import Renderer, find_fluidsynth, find_renderer
from clamp3.formats.synthesis.rendering import render_midi

__all__ = ["Renderer", "find_fluidsynth", "find_renderer", "render_midi"]
