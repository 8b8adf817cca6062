from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("hosts", "0007_condition_and_removal"),
    ]

    operations = [
        migrations.AddField(
            model_name="signin",
            name="tried",
            field=models.CharField(blank=True, help_text="What was wanted instead of SFTP.", max_length=20),
        ),
        migrations.AddField(
            model_name="signin",
            name="offered",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name="signin",
            name="offered_keys",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
