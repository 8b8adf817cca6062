import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hosts", "0005_accounts_digest"),
    ]

    operations = [
        migrations.CreateModel(
            name="UploadsSeen",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("changes_file", models.CharField(blank=True, max_length=64)),
                ("changes_offset", models.BigIntegerField(default=0)),
                (
                    "looked",
                    models.DateTimeField(
                        blank=True, help_text="The accounts whose turn came before then had it.", null=True
                    ),
                ),
                (
                    "owed",
                    models.JSONField(
                        default=list, help_text="Accounts that are to be looked at as soon as that is possible."
                    ),
                ),
                ("tries", models.PositiveIntegerField(default=0, help_text="Failed looks since the last good one.")),
                ("next_try", models.DateTimeField(blank=True, null=True)),
                ("lease_token", models.CharField(blank=True, default="", editable=False, max_length=32)),
                ("lease_until", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "host",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="uploads_seen", to="hosts.host"
                    ),
                ),
            ],
        ),
    ]
