"""What several tests of trainings share."""

import pytest


@pytest.fixture
def eager_saving(monkeypatch):
    """A state is saved at every step."""
    monkeypatch.setattr("clamp3.training.conditions.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("clamp3.training.conditions.SAVE_SHARE", 1e9)
