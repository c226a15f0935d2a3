"""What readers refuse, by the kind of the error."""

from contextlib import contextmanager

import pytest

from clamp3.errors import FormatError


@contextmanager
def refused(kind, match=None):
    """The block raises a FormatError of this kind."""
    with pytest.raises(FormatError, match=match) as caught:
        yield
    assert caught.value.kind == kind
