"""Every data set besides PDMX by the name of its layout."""

from collections.abc import Callable
from pathlib import Path

from clamp3.data.labelled import parse_labelled
from clamp3.data.lakh import parse_lakh
from clamp3.data.midicaps import parse_midicaps
from clamp3.data.musiccaps import parse_musiccaps
from clamp3.data.song_describer import parse_song_describer
from clamp3.data.sources import Parsed, SizesOf
from clamp3.data.wikimt import parse_wikimt
from clamp3.data.wikimt_x import parse_wikimt_x
from clamp3.formats.modality import Modality

# Those that are one list, and perhaps files that lie around it; of others the folder is all.
LISTED = ("wikimt_x", "midicaps", "wikimt", "song_describer", "musiccaps")
_ALONE: dict[str, Callable[..., Parsed]] = {"wikimt_x": parse_wikimt_x, "lakh": parse_lakh}
_AROUND: dict[str, Callable[..., Parsed]] = {
    "song_describer": parse_song_describer,
    "musiccaps": parse_musiccaps,
}
LABELLED = {
    "labelled_scores": Modality.SCORE,
    "labelled_performances": Modality.PERFORMANCE,
    "labelled_recordings": Modality.RECORDING,
}


def read_layout(
    layout: str,
    path: Path | str,
    *,
    collection: str | None = None,
    check_files: bool = True,
    folder: str | None = None,
    sizes_of: SizesOf | None = None,
) -> Parsed:
    """The catalogue columns of a data set's usable pieces, and the rejects.

    `layout` is one of clamp3.config.LAYOUTS, `path` the data set's list, or its folder where it has
    none. Ids begin with `collection` (None: the layout). With `check_files` a piece whose files
    are not there is rejected; recordings are always looked for. Of LISTED layouts `path` is a list
    on this machine, and the files lie below `folder` (None: that of the list), which is an address
    as `path` is of the others; `sizes_of` finds them.

    Raises DataError where the file or folder as a whole is something else.
    """
    name = collection or layout
    if layout in LABELLED:
        return parse_labelled(path, LABELLED[layout], collection=name)
    if layout == "wikimt":
        return parse_wikimt(path, folder, collection=name, check_files=check_files)
    if layout == "midicaps":
        return parse_midicaps(
            path, folder, collection=name, check_files=check_files, sizes_of=sizes_of
        )
    if layout in _ALONE:
        return _ALONE[layout](path, collection=name)
    return _AROUND[layout](path, folder, collection=name)
