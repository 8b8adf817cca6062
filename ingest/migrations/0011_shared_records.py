"""Formats may share their records: those on hand go to the name that they are kept under from now on."""

from collections import Counter

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from ingest.catalogue import formats

ASIDE = "-before"


def share(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Where a district has records by several formats that share them, the newest format's are those that count.

    The others are kept aside, and what made them cannot be taken back any more. Held nights are compared anew.
    """
    dataset, epoch = apps.get_model("ingest", "Dataset"), apps.get_model("ingest", "Epoch")
    many = Counter(one.records for one in formats())
    shared = {one.name: one.records for one in formats() if many[one.records] > 1}
    rows = dataset.objects.filter(format__in=shared)
    for district_pk in list(rows.order_by().values_list("district", flat=True).distinct()):
        applied = epoch.objects.filter(district=district_pk, applied_version__isnull=False).order_by("-applied_version")
        newest = list(dict.fromkeys(applied.values_list("format", flat=True)))
        taken: set[tuple[str, str]] = set()
        renamed = []
        for row in sorted(rows.filter(district=district_pk), key=lambda one: _place(newest, one.format)):
            is_first = (shared[row.format], row.table) not in taken
            taken.add((shared[row.format], row.table))
            renamed.append((row.pk, shared[row.format] if is_first else f"{row.format}{ASIDE}"))
            if not is_first:
                epoch.objects.filter(district=district_pk, format=row.format).update(applied_version=None)
        # Those aside first: one may have the name that another gets.
        for pk, name in sorted(renamed, key=lambda one: not one[1].endswith(ASIDE)):
            dataset.objects.filter(pk=pk).update(format=name)
    held = epoch.objects.filter(state="held", format__in=shared)
    apps.get_model("ingest", "StepTime").objects.filter(epoch__in=held, step="compare").delete()
    held.update(state="behind", step="check")


def _place(names: list[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


class Migration(migrations.Migration):
    dependencies = [("ingest", "0010_fair_turns")]

    operations = [migrations.RunPython(share, migrations.RunPython.noop)]
