from django.db import migrations, models
from django.db.models import Max, OuterRef, Subquery


def note_shut(apps, schema_editor):
    """Of districts that are suspended or closed: the set that shut them, as far as it is known, and those after it."""
    KeySet = apps.get_model("keys", "KeySet")
    changed = KeySet.objects.filter(account=OuterRef("account"), cause="account").order_by().values("account")
    shut = KeySet.objects.exclude(account__district__state="active")
    shut.filter(version__gte=Subquery(changed.annotate(last=Max("version")).values("last"))).update(is_shut=True)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("keys", "0008_forgiven_tokens"),
    ]

    operations = [
        migrations.AddField(
            model_name="keyset",
            name="is_shut",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(note_shut, migrations.RunPython.noop),
    ]
