"""The way from a new account to nights that load by themselves: which steps are done, and whose turn it is."""

from dataclasses import dataclass
from enum import StrEnum

# Loaded in so many nights, files are taken to come by themselves.
SETTLED = 3


class Turn(StrEnum):
    """Whether a step is done, and who acts if not: the district, we, or nobody yet."""

    DONE = "done"
    NOW = "now"
    OURS = "ours"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Facts:
    """How far a district has got. `nights`: in how many nights files were loaded; `is_with_us`: files wait for us."""

    has_keys: bool
    is_on_host: bool
    has_signed_in: bool
    has_uploaded: bool
    is_with_us: bool
    nights: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step, in the order in which vendors advise to go: by hand first, then a test, then every night."""

    name: str
    turn: Turn


def steps_of(facts: Facts) -> tuple[Step, ...]:
    """All steps; of those that are not done the first is somebody's turn, and later ones wait for it."""
    told = (
        ("generate", facts.has_keys, False),
        ("install", facts.has_keys and facts.is_on_host, facts.has_keys),
        ("connect", facts.has_signed_in, False),
        ("test", facts.has_uploaded, False),
        ("loaded", facts.nights > 0, facts.is_with_us),
        ("nightly", facts.nights >= SETTLED, False),
    )
    steps, is_first = [], True
    for name, is_done, is_ours in told:
        turn = Turn.OURS if is_ours else Turn.NOW
        steps.append(Step(name, Turn.DONE if is_done else (turn if is_first else Turn.LATER)))
        is_first = is_first and is_done
    return tuple(steps)


def is_settled(steps: tuple[Step, ...]) -> bool:
    """Whether there is nothing left to set up."""
    return all(step.turn is Turn.DONE for step in steps)
