"""Fuzzing for a short while, and what longer runs have kept."""

import os
import sys

import pytest

from tests.keys.fuzz import KEPT, fuzz, is_there
from tests.keys.invariants import check_bytes

SECONDS = 60 if os.environ.get("CI") else 5
# A test goes the same way each time; who wants to find something new runs tests/keys/fuzz.py.
SEED = 1


def test_fuzzing_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    if not is_there() and not (os.environ.get("CI") and sys.version_info[:2] == (3, 11)):
        pytest.skip("atheris does not exist for this Python")
    outcome = fuzz(SECONDS, SEED)
    assert outcome.broke is None, outcome.account
    assert outcome.executions > len(list(KEPT.glob("*")))
    with capsys.disabled():
        worst = outcome.slowest[0][0] if outcome.slowest else 0
        print(
            f"\nfuzz: {outcome.executions} executions, coverage {outcome.coverage}, {worst * 1000:.1f} ms the slowest"
        )


def test_what_was_kept_breaks_nothing() -> None:
    kept = sorted(KEPT.iterdir())
    assert kept
    for path in kept:
        check_bytes(path.read_bytes())
