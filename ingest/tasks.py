"""Celery's handles on this package."""

from celery import shared_task

from . import archive, looking, pipeline, staging


@shared_task(name="ingest.look")
def look() -> None:
    """Looks into every district's /upload/ and queues what is ripe."""
    for district_pk in looking.look_everywhere():
        process_district.delay(district_pk)


@shared_task(name="ingest.process_district")
def process_district(district_pk: int) -> None:
    """Processes one district's queued epochs, in order."""
    pipeline.process_district(district_pk)


@shared_task(name="ingest.sweep")
def sweep() -> None:
    """Goes on with what lost messages and killed workers left behind."""
    for district_pk in pipeline.districts_with_work():
        pipeline.process_district(district_pk)
    staging.sweep()


@shared_task(name="ingest.purge")
def purge() -> None:
    """Deletes from /upload-processed/ what is past its days."""
    archive.purge()
