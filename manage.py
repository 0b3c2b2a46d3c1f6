#!/usr/bin/env python
"""Django's command line for the site."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "web_server.settings")
    try:
        # Read now: a wrong setting is one sentence, not a traceback from inside Django.
        _ = settings.INSTALLED_APPS
    except (ImproperlyConfigured, ValueError) as error:
        sys.exit(f"manage.py: {error}")
    execute_from_command_line(sys.argv)
