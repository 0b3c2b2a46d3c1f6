"""Why a unit did not release a station's latch."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0003_waiver_batch_black_box")]

    operations = [
        migrations.AddField(
            model_name="alarm",
            name="acknowledge_refused",
            field=models.CharField(blank=True, default="", max_length=250),
        ),
    ]
