from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hosts", "0009_where_new_districts_go"),
    ]

    operations = [
        migrations.AddField(
            model_name="host",
            name="keys_group",
            field=models.BigIntegerField(
                blank=True, editable=False, help_text="Which reads key files there.", null=True
            ),
        ),
    ]
