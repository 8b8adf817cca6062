"""Where a worker of Celery is killed: made from the pipeline's own steps, so a step added later is killed without a
thought.

A worker's death takes its time, so each step has one, and the step that writes the records has all. Every moment of
every step, down to the single statement, is in test_seams.py, by processes that die faster.
"""

from ingest import pipeline

# Before a step; after its files are touched and before its rows are written; with its rows written and not yet
# committed; after its commit.
PLACES = ("before", "between", "inside", "after")
_IN_TURN = {f"{step.name}-{PLACES[number % len(PLACES)]}": None for number, step in enumerate(pipeline.STEPS)}
SEAMS = tuple(_IN_TURN | {f"load-{place}": None for place in PLACES})
