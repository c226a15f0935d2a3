"""`clamp3` as a person starts it, but in this process."""

from typing import NamedTuple

from typer.testing import CliRunner

from clamp3.cli import app


class Done(NamedTuple):
    """How a command ended, and what it said."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def run(*words: object) -> Done:
    """`clamp3` with these words; an exception that is no refusal is raised."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
