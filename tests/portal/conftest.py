"""The scene that tests of doors and pages share."""

import pytest

from .scene import Scene, make_scene


@pytest.fixture
def scene(db: None) -> Scene:
    """Four districts, six people, one of everything."""
    return make_scene()
