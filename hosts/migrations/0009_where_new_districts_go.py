from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hosts", "0008_what_was_offered"),
    ]

    operations = [
        migrations.AddField(
            model_name="host",
            name="takes_new",
            field=models.BooleanField(default=False, help_text="New districts go here, if nobody says otherwise."),
        ),
        migrations.AddConstraint(
            model_name="host",
            constraint=models.UniqueConstraint(
                condition=models.Q(("takes_new", True)), fields=("takes_new",), name="hosts_one_takes_new_districts"
            ),
        ),
    ]
