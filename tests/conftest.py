"""Every test has a data directory of its own making, and (unless it starts servers) a database of its own."""

import os
import tempfile

# Before Django reads its settings: no test may touch the state of a portal somebody runs.
_DATA_DIR = tempfile.mkdtemp(prefix="sftp-portal-tests-")
os.environ["DATA_DIR"] = _DATA_DIR
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's loop runs beside Django's ORM

import shutil  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from django.conf import LazySettings  # noqa: E402
from django.conf import settings as django_settings  # noqa: E402
from django.core.cache import cache  # noqa: E402
from hypothesis import HealthCheck  # noqa: E402
from hypothesis import settings as hypothesis_settings  # noqa: E402

from tests.parallel import (  # noqa: E402, F401
    pytest_collection_modifyitems,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

# How long examples take says how busy the machine is.
PATIENT = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("portal", parent=PATIENT)
hypothesis_settings.load_profile("portal")


@pytest.fixture(scope="session", autouse=True)
def _data_dir_goes_away() -> Iterator[None]:
    yield
    shutil.rmtree(_DATA_DIR, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_state(settings: LazySettings, tmp_path: Path) -> None:
    """Each test's hosts, staging and cache start empty; passwords are hashed in no time."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Nights of tests are named after days that were long ago, and their files are of those years.
    settings.GUARD_AGE_DAYS, settings.GUARD_SCHOOL_YEAR = -1, False
    cache.clear()
    django_settings.DATA_DIR = tmp_path / "var"
    django_settings.SFTP_ROOT = tmp_path / "var" / "sftp"
    django_settings.STAGING_DIR = tmp_path / "var" / "staging"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nudges go nowhere outside the flow tests, which run a real broker: the row is the queue."""
    monkeypatch.setattr("celery.app.task.Task.apply_async", lambda *args, **kwargs: None)
