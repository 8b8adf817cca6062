"""Looks at the settings when the portal starts, and says how to mend what cannot work."""

import re
from collections.abc import Iterable

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import OperationalError, connection

from accounts.origin import networks
from ingest.catalogue import formats
from ingest.core.errors import DescriptorError

from .broker import embedded_server
from .parts import SOON_THREADS

# `manage.py up` runs these, and leaves Django's own to `make check`: a start must be quick.
OURS = "portal"
# Beat, `up`, the process of each worker, and some commands of ops.
SPARE_CONNECTIONS = 8


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
        "INGEST_ROTA_HOURS",
        "SWEEP_SECONDS",
        "LEASE_SECONDS",
        "SIGN_IN_EVENTS_SECONDS",
        "WORKER_PROCESSES",
        "HOST_THREADS",
        "WEB_THREADS",
        "INVITATION_DAYS",
        "PROCESSED_DAYS",
        "INGEST_FINDINGS_LISTED",
        "INGEST_HISTORY_DAYS",
        "TRIAL_MOST_MEGABYTES",
        "TRIAL_MOST_FILES",
        "TRIALS_PER_HOUR",
        "TRIALS_AT_ONCE",
        "TRIAL_MINUTES",
        "TRIAL_RESULT_HOURS",
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
def proxies_are_known(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """Behind a proxy that is not listed all people come from one address: wrong tries of one slow down all."""
    try:
        networks(tuple(settings.TRUSTED_PROXIES))
    except ValueError as error:
        yield Error(
            f"TRUSTED_PROXIES holds something that is no address and no network: {error}",
            hint="Write for example TRUSTED_PROXIES=10.0.0.5,10.1.0.0/16",
            id="portal.E004",
        )
    if settings.IS_HTTPS and not settings.TRUSTED_PROXIES:
        yield Error(
            "PUBLIC_URL begins with https://, so there is a proxy in front, but TRUSTED_PROXIES lists none: nobody"
            " would be believed that a request came over TLS, and every page would lead to itself for ever.",
            hint="Set TRUSTED_PROXIES to the addresses from which your proxies call the portal, such as 127.0.0.1",
            id="portal.E005",
        )


@register(OURS)
def openid_providers_are_whole(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """A provider whose setting lacks something, or is spoken to in plain text, signs in nobody, or anybody."""
    told = settings.OPENID_PROVIDERS
    if not isinstance(told, list) or not all(_is_whole(one) for one in told):
        yield Error(
            "OPENID_PROVIDERS is not a list of providers, each with id, name, issuer, client_id and secret.",
            hint="The id is one of a-z, 0-9 and hyphens, the issuer begins with https://; see docs/operations.md.",
            id="portal.E006",
        )
    elif len({one["id"] for one in told}) < len(told):
        yield Error("Two of OPENID_PROVIDERS have one id.", hint="Give each its own.", id="portal.E006")


def _is_whole(one: object) -> bool:
    if not isinstance(one, dict) or set(one) != {"id", "name", "issuer", "client_id", "secret"}:
        return False
    if not all(isinstance(value, str) and value for value in one.values()):
        return False
    is_near = one["issuer"].startswith(("http://localhost:", "http://127.0.0.1:"))
    return bool(re.fullmatch(r"[a-z0-9-]+", one["id"])) and (one["issuer"].startswith("https://") or is_near)


@register(OURS)
def staff_have_second_factors(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """Where people come over the network, a password alone must not open every district."""
    if settings.IS_HTTPS and not settings.SECOND_FACTOR_REQUIRED:
        yield Warning(
            "Staff sign in with a password alone.",
            hint="Leave SECOND_FACTOR_REQUIRED out, or set it to 1.",
            id="portal.W004",
        )


def connections_needed() -> int:
    """How many connections to the database all parts may have open at once.

    One for each thread that serves pages, process of the general worker and thread of the three others; a second one
    for each that works, as a thread beside it keeps its lease; beat, `up`, the workers' own processes and a few
    commands.
    """
    workers = settings.WORKER_PROCESSES + 2 * settings.HOST_THREADS + SOON_THREADS
    return settings.WEB_THREADS + 2 * workers + SPARE_CONNECTIONS


@register(OURS)
def database_lets_all_parts_in(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """On PostgreSQL a part that gets no connection fails just when there is most to do."""
    there, needed = _connections_there(), connections_needed()
    if there is not None and there < needed:
        yield Warning(
            f"PostgreSQL lets {there} connections in, and the portal's parts may need {needed} at once.",
            hint=f"Raise max_connections of PostgreSQL to {needed} and what others need, or set HOST_THREADS lower.",
            id="portal.W002",
        )


def _connections_there() -> int | None:
    """How many PostgreSQL lets in, but for those it keeps for its superusers; None if it is another or away."""
    if connection.vendor != "postgresql":
        return None
    try:
        with connection.cursor() as cursor:
            names = ("max_connections", "superuser_reserved_connections")
            cursor.execute("SELECT current_setting(%s)::int - current_setting(%s)::int", names)
            return int(cursor.fetchone()[0])
    except OperationalError:  # that the database is away is told by whoever needs it
        return None


@register(OURS)
def formats_are_sound(app_configs: object, **_: object) -> Iterable[CheckMessage]:
    """A descriptor that cannot be used is found at start, not at night."""
    try:
        formats()
    except DescriptorError as error:
        yield Error(f"A format descriptor cannot be used: {error.message}", hint=error.hint or None, id="portal.E003")
