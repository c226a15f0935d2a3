"""The data sets that can be downloaded: what they are, whose, and where they lie."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, Field, model_validator

from clamp3.config import LAYOUTS, Section, check
from clamp3.errors import ConfigError, DataError

REGISTRY = Path(__file__).with_name("data_sets.yaml")


def _is_web_address(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise ValueError(f"{url!r} is no http or https address")
    return url


def _is_inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path:
        raise ValueError(f"{path!r} is no path below a folder")
    return path


class RemoteFile(Section):
    """A file of a data set: where it is fetched and what is known of it."""

    url: Annotated[str, AfterValidator(_is_web_address)]
    path: Annotated[str, AfterValidator(_is_inside)]  # below the data set's folder
    bytes: Annotated[int, Field(gt=0)] | None = None  # exact
    about_bytes: Annotated[int, Field(gt=0)] | None = None  # only told
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    unpack: bool = False  # an archive, or a compressed file


class DataSet(Section):
    """A data set; `layout` and `path` are what parse.collections takes, where it can be one."""

    title: str
    what: str
    home: str
    citation: str
    licence: str
    layout: Literal[tuple(LAYOUTS)] | None = None
    path: Annotated[str, AfterValidator(_is_inside)] | Literal["."] | None = None
    use: str | None = None  # in params.yaml, where it is no collection
    files: tuple[RemoteFile, ...] = ()
    by_hand: str | None = None  # what a person has to do, with FOLDER for the folder

    @model_validator(mode="after")
    def _can_be_had(self) -> "DataSet":
        if not self.files and not self.by_hand:
            raise ValueError("neither files nor by_hand: nobody could get it")
        return self

    def about_bytes(self) -> int:
        """How much is fetched, as far as it is known."""
        return sum(file.bytes or file.about_bytes or 0 for file in self.files)


def read_registry(path: Path | None = None) -> dict[str, DataSet]:
    """The data sets by name, from a file like data_sets.yaml (None: that file itself).

    Raises DataError where there is no such file, ConfigError for what it should not hold.
    """
    path = REGISTRY if path is None else Path(path)
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not a list of data sets ({error})") from error
    if not isinstance(listed, dict):
        raise DataError(f"{path}: expected data sets by name, as in {REGISTRY.name}")
    return {str(name): check(DataSet, values, f"{path}, {name}") for name, values in listed.items()}


def find_data_set(name: str, registry: dict[str, DataSet]) -> tuple[str, DataSet]:
    """Its name in the registry and the data set; case, `-` and `_` do not matter.

    Raises ConfigError that names those there are.
    """
    plain = name.lower().replace("-", "_")
    if plain not in registry:
        raise ConfigError(f"no data set {name!r}; there are: {', '.join(registry)}")
    return plain, registry[plain]
