"""Hashes have a better second lane: what was found by the one before is found anew."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def compare_anew(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Pages are made again from the records, and what was compared and is not loaded yet is compared again."""
    apps.get_model("ingest", "RecordPage").objects.all().delete()
    compared = apps.get_model("ingest", "Epoch").objects.filter(step="compare")
    apps.get_model("ingest", "StepTime").objects.filter(epoch__in=compared, step="compare").delete()
    compared.filter(state="held").update(state="behind")
    compared.update(step="check")


class Migration(migrations.Migration):
    dependencies = [("ingest", "0018_staff_notes")]

    operations = [migrations.RunPython(compare_anew, migrations.RunPython.noop)]
