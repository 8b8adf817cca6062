"""Looks at the settings when the portal starts, and says how to mend what cannot work."""

from collections.abc import Iterable

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from ingest.catalogue import formats
from ingest.core.errors import DescriptorError

from .broker import embedded_server

# `manage.py up` runs these, and leaves Django's own to `make check`: a start must be quick.
OURS = "portal"


@register(OURS)
def broker_can_run(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """Without a broker of its own or a wheel for this machine, nothing would be done."""
    if settings.BROKER_IS_EMBEDDED and embedded_server() is None:
        yield Error(
            "There is no embedded broker for this kind of machine.",
            hint="Install a Redis or Valkey server and set BROKER_URL, for example BROKER_URL=redis://127.0.0.1:6379/0",
            id="portal.E001",
        )


@register(OURS)
def paces_make_sense(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """Times that would starve or stop the work."""
    for name in (
        "INGEST_LOOK_SECONDS",
        "SWEEP_SECONDS",
        "LEASE_SECONDS",
        "SIGN_IN_EVENTS_SECONDS",
        "WORKER_PROCESSES",
        "WEB_THREADS",
        "INVITATION_DAYS",
        "PROCESSED_DAYS",
    ):
        if getattr(settings, name) < 1:
            yield Error(
                f"{name} must be at least 1.",
                hint=f"Set {name} to a whole number from 1 up.",
                id="portal.E002",
            )
    if settings.INGEST_QUIET_SECONDS < 2:
        yield Warning(
            "INGEST_QUIET_SECONDS is so short that a client which sends COMPLETE first may be read half-way.",
            hint="Set INGEST_QUIET_SECONDS to 10 or more.",
            id="portal.W001",
        )


@register(OURS)
def formats_are_sound(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """A descriptor that cannot be used is found at start, not at night."""
    try:
        formats()
    except DescriptorError as error:
        yield Error(f"A format descriptor cannot be used: {error.message}", hint=error.hint or None, id="portal.E003")
