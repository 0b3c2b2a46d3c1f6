"""The number of a filing: sent twice it files once."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0004_alarm_acknowledge_refused")]

    operations = [
        migrations.AddField(
            model_name="experiment",
            name="request_id",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="experiment",
            constraint=models.UniqueConstraint(
                fields=["request_id", "battery"], name="experiment_is_filed_once"
            ),
        ),
    ]
