"""Standard ABC notation to interleaved ABC, the form in which scores reach the models, and back.

Standard ABC holds one voice after the other. Interleaved ABC holds header lines and then one line
per bar, in which every voice has its segment:

    [V:1]C2 E2 G4|[V:2]C,8|
    [V:1]c8|][V:2]C,8|]

Titles, composers, lyrics, credits, bar numbers and silent bars at either end are left out.
"""

from clamp3.formats.abc.alignment import Misalignment, alignment_warnings
from clamp3.formats.abc.interleaving import deinterleave_abc, interleave_abc
from clamp3.formats.abc.voices import Voice, read_voices

__all__ = [
    "Misalignment",
    "Voice",
    "alignment_warnings",
    "deinterleave_abc",
    "interleave_abc",
    "read_voices",
]
