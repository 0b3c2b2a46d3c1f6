"""Encrypt the addresses that lie in the database readable."""

from typing import Any

from django.db import migrations

from web_server.notices.sealing import seal, unseal


def encrypt(apps: Any, _editor: Any) -> None:
    """Seal every address."""
    for target in apps.get_model("notices", "Target").objects.all():
        target.sealed = seal(target.sealed)
        target.save(update_fields=["sealed"])


def decrypt(apps: Any, _editor: Any) -> None:
    """Write every address readable again."""
    for target in apps.get_model("notices", "Target").objects.all():
        target.sealed = unseal(target.sealed)
        target.save(update_fields=["sealed"])


class Migration(migrations.Migration):
    dependencies = [("notices", "0001_initial")]

    operations = [
        migrations.RenameField("target", "address", "sealed"),
        migrations.RunPython(encrypt, decrypt),
    ]
