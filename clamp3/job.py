"""What every wrapper in workflow/scripts/ is: named arguments in, one call, a log.

Imported there before all else: what the others do not find, memory or a library, is logged too.
"""

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import BaseModel

from clamp3.config import check
from clamp3.errors import ConfigError
from clamp3.logs import job_log

Model = TypeVar("Model", bound=BaseModel)


class Job:
    """The arguments of one rule's script, as `--name value [value …]`, and its log.

    `--params` holds the rule's parameters as JSON and `--log` the log file; all other names are
    those of the rule's inputs and outputs. Used as a context manager: errors inside the block end
    the process with status 1 and one line (see clamp3.logs.job_log).

    Raises ConfigError for a name that is missing or holds more than one value.
    """

    def __init__(self, arguments: list[str] | None = None):
        self._values: dict[str, list[str]] = {}
        values = self._values.setdefault("", [])
        for word in sys.argv[1:] if arguments is None else arguments:
            if word.startswith("--"):
                values = self._values.setdefault(word.removeprefix("--"), [])
            else:
                values.append(word)
        self._log = job_log(self.path("log"))

    def __enter__(self) -> "Job":
        self._log.__enter__()
        return self

    def __exit__(self, *raised: object) -> bool | None:
        return self._log.__exit__(*raised)

    def text(self, name: str) -> str:
        """The one value of `--name`."""
        values = self._values.get(name, [])
        if len(values) != 1:
            raise ConfigError(f"--{name}: found {len(values)} values, expected one")
        return values[0]

    def path(self, name: str) -> Path:
        """The one path of `--name`."""
        return Path(self.text(name))

    def optional_path(self, name: str) -> Path | None:
        """The one path of `--name`, or none where the rule has none."""
        return self.path(name) if self._values.get(name) else None

    def paths(self, name: str) -> list[Path]:
        """All paths of `--name`; at least one."""
        if not self._values.get(name):
            raise ConfigError(f"--{name}: found nothing, expected one path or more")
        return [Path(value) for value in self._values[name]]

    def texts(self, name: str) -> list[str]:
        """All values of `--name`, or none."""
        return list(self._values.get(name, []))

    def value(self, name: str) -> object:
        """One top-level value of the rule's parameters, such as the seed."""
        params = json.loads(self.text("params"))
        if name not in params:
            raise ConfigError(f"--params: no `{name}`; does dvc.yaml list it for this stage?")
        return params[name]

    def section(self, name: str, model: type[Model]) -> Model:
        """One section of the rule's parameters, checked."""
        return check(model, self.value(name), name)


def _log_import(kind: type, error: BaseException, trace: TracebackType | None) -> None:
    """Log what kept a script's modules from loading, as if it had come up in the job."""
    if not isinstance(error, ImportError | MemoryError | SystemError):
        sys.__excepthook__(kind, error, trace)
        return
    with Job():
        raise error


sys.excepthook = _log_import
