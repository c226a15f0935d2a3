"""What is known of pieces: columns of metadata tables, and what the heads of scores say."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from clamp3.data.store import Store
from clamp3.errors import DataError
from clamp3.retrieval.labels import look_up, metadata_table, plain_word

Facts = dict[str, str]  # the value of each property that is known

TITLE = "title"
MODES = {
    "": "major",
    "m": "minor",
    "maj": "major",
    "ion": "major",
    "min": "minor",
    "aeo": "minor",
    "dor": "dorian",
    "phr": "phrygian",
    "lyd": "lydian",
    "mix": "mixolydian",
    "loc": "locrian",
}
METRES = {"C": "4/4", "C|": "2/2"}
_FIELDS = {name: re.compile(rf"^{name}:(.*)$", re.MULTILINE) for name in "KM"}
_KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)(=?)")
_CLEF = re.compile(r"(?:clef|treble|bass|alto|tenor|perc)\b")
_METRE = re.compile(r"(C\|?|\d+(?:\+\d+)*/\d+|\(\d+(?:\+\d+)*\)/\d+)(?=[\s%]|$)")
_DOTS = {"#": "♯", "b": "♭", "": ""}
MOST_SHARE = 0.95  # of the pieces that one value may have in a telling column


def score_facts(abc: str) -> Facts:
    """Key, tonic, mode and metre as the first fields K: and M: of a score say.

    `K:Ador` is key “A dorian”; C is 4/4 and C| is 2/2. What is not said, or is none of the modes,
    such as `K:none`, the bagpipe's `K:HP` and `K:D exp _b`, is left out.
    """
    return _key_facts(_field(abc, "K")) | _metre_facts(_field(abc, "M"))


def _field(abc: str, name: str) -> str:
    found = _FIELDS[name].search(abc)
    return found[1].strip() if found else ""


def _key_facts(field: str) -> Facts:
    found = _KEY.match(field)
    if not found:
        return {}
    letter, sign, word, setting = found.groups()
    if setting or _CLEF.match(word):  # clef=bass says nothing of the mode
        word = ""
    mode = MODES.get("maj" if word == "M" else word[:3].lower())
    tonic = letter + _DOTS[sign]
    return {"key": f"{tonic} {mode}", "tonic": tonic, "mode": mode} if mode else {}


def _metre_facts(field: str) -> Facts:
    found = _METRE.match(field)
    if not found:
        return {}
    return {"metre": METRES.get(found[1]) or re.sub(r"[()]", "", found[1])}


def read_scores(source: Path) -> dict[str, Facts]:
    """What the scores of a folder say, by id: its files .abc, or the parts of a store of ABC.

    Ids of files are their paths below the folder. Raises DataError where there are none.
    """
    source = Path(source)
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; expected files .abc below it")
    if sorted(source.glob("part-*.parquet")):
        store = Store(source)
        if store.column != "abc":
            raise DataError(f"{source}: this store holds {store.column}; expected abc")
        return {name: score_facts(str(store.get(name))) for name in store.ids}
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() == ".abc")
    if not files:
        raise DataError(f"{source}: no file .abc in it; expected scores, whose keys can be read")
    return {
        path.relative_to(source).as_posix(): score_facts(
            path.read_text(encoding="utf-8", errors="replace")
        )
        for path in files
    }


def read_facts(
    source: Path, *, ids: Collection[str] | None = None, columns: Sequence[str] = ()
) -> dict[str, Facts]:
    """The columns of a table, by its column id, file or path; of several rows the first counts.

    A table .csv, .tsv, .jsonl or .parquet, or a folder of part-*.parquet such as the catalogue. Of
    a list the first entry counts; empty cells are not known. With `ids` or `columns` no others.

    Raises DataError for a table that cannot be read or has no such column.
    """
    table, name = metadata_table(Path(source))
    kept = [column for column in table if column != name and column in (columns or table)]
    table = table[[name, *kept]]
    if ids is not None:  # before rows become dicts, which cost many times their text
        table = table[table[name].isin(list(ids))]
    found: dict[str, Facts] = {}
    for row in table.to_dict("records"):
        known = {str(column): _word(row[column]) for column in kept}
        found.setdefault(str(row[name]), {c: word for c, word in known.items() if word})
    return found


def first_values(line: dict) -> Facts:
    """The texts and the first entries of lists of a manifest's line; what is empty is left out."""
    known = {name: _word(value) for name, value in line.items() if not isinstance(value, dict)}
    return {name: word for name, word in known.items() if word}


def _word(value: object) -> str:
    """A cell as text; of a list its first entry; empty where there is none. 3.0 is 3."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return next((word for word in map(_word, value) if word), "")
    if value is None or isinstance(value, dict) or value != value:  # NaN
        return ""
    return plain_word(value)


def facts_of(ids: Sequence[str], tables: Iterable[dict[str, Facts]]) -> list[Facts]:
    """What the tables say of each id; of two that know the same property the first counts.

    Ids are matched by their full name, else by the name without the suffix of a music file.
    """
    found: list[Facts] = [{} for _ in ids]
    for table in tables:
        for facts, more in zip(found, look_up(ids, table), strict=True):
            for name, value in (more or {}).items():
                facts.setdefault(name, value)
    return found


def telling_columns(facts: Sequence[Facts], keys: Sequence[str], most: int) -> list[str]:
    """The properties that pieces can be coloured by, at most `most`, in the order they come.

    `keys` says which rows are of one piece. Half of the pieces have a value, at least four share
    one on average, and no value stands for nearly all.
    """
    columns = list(dict.fromkeys(name for known in facts for name in known if name != TITLE))
    pieces = len(set(keys))
    return [name for name in columns if _tells(name, facts, keys, pieces)][:most]


def _tells(name: str, facts: Sequence[Facts], keys: Sequence[str], pieces: int) -> bool:
    known = {(key, told[name]) for key, told in zip(keys, facts, strict=True) if name in told}
    counts = Counter(value for _, value in known)
    several = 1 < len(counts) <= max(2, len(known) / 4)
    enough = len({key for key, _ in known}) * 2 >= pieces
    return several and enough and max(counts.values()) <= MOST_SHARE * len(known)
