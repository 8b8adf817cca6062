from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def told(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Whoever has a file on a host has had a home there until now."""
    apps.get_model("keys", "KeyFile").objects.filter(host_version__gt=0).exclude(
        account__district__state="closed"
    ).update(has_home=True)


class Migration(migrations.Migration):
    dependencies = [
        ("keys", "0005_propagation"),
    ]

    operations = [
        migrations.AddField(
            model_name="keyfile",
            name="has_home",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(told, migrations.RunPython.noop),
    ]
