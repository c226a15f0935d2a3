"""Where the recorded outputs of the original models are: a part in the repository, all outside."""

from typing import NamedTuple

import pytest
import torch
from formula import SMALL, read_json, read_npz


class Recorded(NamedTuple):
    """The recordings of one model configuration."""

    folder: object
    letter: str

    def arrays(self, name):
        return read_npz(self.folder / name.format(self.letter))

    def json(self, name):
        return read_json(self.folder / name.format(self.letter))


@pytest.fixture(params=["part-B", "all-A", "all-B"])
def recorded(request):
    """Configuration B from the repository, A and B from the full recordings where they are."""
    where, letter = request.param.split("-")
    if where == "part":
        return Recorded(SMALL, letter)
    return Recorded(request.getfixturevalue("goldens") / "models", letter)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
