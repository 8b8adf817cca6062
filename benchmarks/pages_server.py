"""The portal as a server, with one page more: the page of nothing of benchmarks/pages.py."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"

from django.conf import settings

# Before anybody has asked for an address.
settings.ROOT_URLCONF = "benchmarks.pages_urls"

from portal.wsgi import application  # noqa: E402

__all__ = ["application"]
