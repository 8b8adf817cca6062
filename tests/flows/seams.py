"""Where a worker is killed: made from the pipeline's own steps, so a step added later is killed without a thought."""

from ingest import pipeline

# Before a step; after its files are touched and before its rows are written; with its rows written and not yet
# committed; after its commit.
PLACES = ("before", "between", "inside", "after")
SEAMS = tuple(f"{step.name}-{place}" for step in pipeline.STEPS for place in PLACES)
