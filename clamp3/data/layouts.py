"""Every data set besides PDMX by the name of its layout."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from clamp3.data.labelled import parse_labelled
from clamp3.data.lakh import parse_lakh
from clamp3.data.midicaps import parse_midicaps
from clamp3.data.musiccaps import parse_musiccaps
from clamp3.data.raw_files.addresses import parent
from clamp3.data.raw_files.reading import local_copy
from clamp3.data.song_describer import parse_song_describer
from clamp3.data.sources import Parsed, SizesOf, file_sizes
from clamp3.data.wikimt import parse_wikimt, parse_wikimt_x
from clamp3.formats.modality import Modality

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
    sizes_of: SizesOf = file_sizes,
) -> Parsed:
    """The catalogue columns of a data set's usable pieces, and the rejects.

    `layout` is one of clamp3.config.LAYOUTS, `path` the address of the data set's list, around
    which its files lie, or of its folder where it has none. Ids begin with `collection` (None: the
    layout). With `check_files` a piece whose files are not there, where `sizes_of` looks, is
    rejected; recordings are always looked for.

    Raises DataError where the file or folder as a whole is something else.
    """
    name, path = collection or layout, str(path)
    if layout in LABELLED:
        return parse_labelled(path, LABELLED[layout], collection=name)
    if layout == "lakh":
        return parse_lakh(path, collection=name)
    around, checks = {"folder": parent(path)}, {"check_files": check_files}
    readers: dict[str, Callable[..., Parsed]] = {
        "wikimt": partial(parse_wikimt, **around, **checks),
        "wikimt_x": parse_wikimt_x,
        "midicaps": partial(parse_midicaps, **around, **checks, sizes_of=sizes_of),
        "song_describer": partial(parse_song_describer, **around),
        "musiccaps": partial(parse_musiccaps, **around),
    }
    with local_copy(path) as file:
        return readers[layout](file, collection=name)
