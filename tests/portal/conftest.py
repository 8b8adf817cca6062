"""The scene that tests of doors and pages share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import current_app
from django.conf import LazySettings
from django.db import transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from portal.celery import app
from tests.flows.stack import free_port, wait_for
from tests.system_packages import find

from .scene import ISSUER, Scene, make_scene

QUICK = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="module")
def _made_scene(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Scene]:
    """Made once a module, in a transaction that the tests' own lie in; taken back at its end."""
    with django_db_blocker.unblock(), override_settings(PASSWORD_HASHERS=QUICK), transaction.atomic():
        yield make_scene()
        transaction.set_rollback(True)


@pytest.fixture
def scene(_made_scene: Scene, db: None, settings: LazySettings) -> Scene:
    """Four districts, six people, one of everything."""
    told = {"id": "elsewhere", "name": "Elsewhere", "issuer": ISSUER, "client_id": "portal", "secret": "x"}
    settings.OPENID_PROVIDERS = [told]
    return _made_scene


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis server of the test's own, which the portal's tasks are sent to."""
    port = free_port()
    command = [find("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        monkeypatch.setattr(app.conf, "broker_url", f"redis://127.0.0.1:{port}/0")
        monkeypatch.setattr(app.conf, "broker_write_url", f"redis://127.0.0.1:{port}/0")
        monkeypatch.setattr(app.conf, "broker_read_url", f"redis://127.0.0.1:{port}/0")
        # Connections are kept by who has sent before.
        monkeypatch.setattr(app, "_pool", None)
        monkeypatch.setattr(app.amqp, "_producer_pool", None)
        wait_for("the broker", _answers)
        yield server
        server.terminate()


def _answers() -> bool:
    try:
        with current_app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=1)
    except OSError:
        return False
    return True
