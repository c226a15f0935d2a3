"""The errors this package raises on purpose.

    Clamp3Error
    ├── ConfigError      params.yaml or a command's options
    ├── FormatError      one score, performance, recording or text that cannot be read
    ├── DataError        a table, manifest or data set that does not hold what it should
    │   └── StorageError a place that does not give what it holds: to be tried again later
    └── CheckpointError  weights or an adapter that do not fit

Messages say where, what was found, what was expected, and the likely mistake.
"""


class Clamp3Error(Exception):
    """Base of all errors that a user can cause and mend."""


class ConfigError(Clamp3Error):
    """A parameter is missing, unknown or out of range."""


class FormatError(Clamp3Error):
    """One piece cannot be read or converted.

    `kind` is a short, stable name of the fault (`corrupt_zip`, `no_notes`, …) by which
    rejected tables are grouped; the message is for people.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):
        return type(self), (self.kind, str(self))


class DataError(Clamp3Error):
    """A table, manifest or data set does not hold what it should."""


class StorageError(DataError):
    """A place for data refuses or does not answer; the data themselves may be whole.

    It ends a batch step: a piece that could not be fetched is not a broken piece.
    """


class CheckpointError(Clamp3Error):
    """Weights, a tokenizer or an adapter are damaged or do not fit the model."""
