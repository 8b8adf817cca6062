from django.db import migrations, models


class Migration(migrations.Migration):
    """Days that were noted already are not carried over: the next run finds them again in the sign-ins."""

    dependencies = [
        ("keys", "0003_starts_and_judgements"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="accountkey",
            name="retires",
        ),
        migrations.AddField(
            model_name="accountkey",
            name="retires_old",
            field=models.DateTimeField(blank=True, help_text="When the old key goes.", null=True),
        ),
    ]
