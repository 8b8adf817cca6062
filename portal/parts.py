"""The parts of the portal as programs: broker, SFTP host, worker, beat, web."""

import signal
import sys

from django.conf import settings

from .broker import embedded_configuration, embedded_server, embedded_socket
from .celery import GENERAL_QUEUE, KEYS_QUEUE, RUNS_QUEUE, SOON_QUEUE, TRIALS_QUEUE
from .runner import Part

# `up` has looked at the settings, and Django's checks would make each of these load all pages and formats.
_CHECKED = {"CELERY_SKIP_CHECKS": "1"}
# Two of them may be at letters and one at a look; no host holds any.
SOON_THREADS = 4


def broker_part() -> Part:
    """The embedded Valkey server; writes its configuration. Only where its wheel exists."""
    server = embedded_server()
    assert server is not None
    folder = settings.DATA_DIR / "broker"
    for place in (folder, embedded_socket(settings.DATA_DIR).parent):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration = folder / "valkey.conf"
    configuration.write_text(embedded_configuration(settings.DATA_DIR), encoding="utf-8")
    return Part("broker", (str(server), str(configuration)))


def sftp_part(port: int) -> Part:
    """The embedded SFTP host. It knows no database: only its own tree of files."""
    argv = ("-m", "hosts.server", "--root", str(settings.SFTP_ROOT), "--port", str(port))
    times = ("--refuse-times",) if settings.SFTP_REFUSE_TIMES else ()
    return Part("sftp", (sys.executable, *argv, "--address", settings.BIND_ADDRESS, *times))


def worker_part(environment: dict[str, str]) -> Part:
    """The Celery worker that processes uploads, and does all that is not a queue of its own."""
    return _worker("worker", GENERAL_QUEUE, ("--concurrency", str(settings.WORKER_PROCESSES)), environment)


def keys_worker_part(environment: dict[str, str]) -> Part:
    """The Celery worker that brings what was just saved: no run and no upload keeps it waiting."""
    return _worker("worker-keys", KEYS_QUEUE, _threads(), environment)


def runs_worker_part(environment: dict[str, str]) -> Part:
    """The Celery worker of runs, each host in a thread of its own, and of all else asked of one host.

    Its threads wait for others nearly all of the time. So a few of them may wait for checks of files, too, which are
    processes of their own.
    """
    return _worker("worker-runs", f"{RUNS_QUEUE},{TRIALS_QUEUE}", _threads(), environment)


def soon_worker_part(environment: dict[str, str]) -> Part:
    """The Celery worker of what is short: it hands out what beat asks for, and sends mail.

    It speaks to no host elsewhere and to no upload, so neither a slow host nor a long epoch can hold it up.
    """
    return _worker("worker-soon", SOON_QUEUE, _threads(SOON_THREADS), environment)


def _threads(number: int | None = None) -> tuple[str, ...]:
    return ("--pool", "threads", "--concurrency", str(number or settings.HOST_THREADS))


def _worker(name: str, queue: str, pool: tuple[str, ...], environment: dict[str, str]) -> Part:
    """TERM lets running tasks end. If the runner died it is killed at once, for the rows remember.

    Celery's own cold shutdown (QUIT) can hang on a thread of its pool; its processes die with it (see celery.py).
    """
    argv = ("-m", "celery", "-A", "portal", "worker", "--hostname", f"{name}@%h", "--queues", queue)
    quiet = ("--loglevel", settings.LOG_LEVEL, "--without-gossip", "--without-mingle")
    return Part(name, (sys.executable, *argv, *pool, *quiet), environment | _CHECKED, 10.0, signal.SIGKILL)


def beat_part(environment: dict[str, str]) -> Part:
    """Celery beat with its schedules in the database."""
    argv = ("-m", "celery", "-A", "portal", "beat", "--loglevel", settings.LOG_LEVEL, "--pidfile", "")
    return Part("beat", (sys.executable, *argv), environment | _CHECKED)


def web_part(port: int, environment: dict[str, str]) -> Part:
    """gunicorn: one process, several threads, on the loopback unless told otherwise."""
    argv = (
        "-m",
        "gunicorn",
        "portal.wsgi",
        "--bind",
        f"{settings.BIND_ADDRESS}:{port}",
        "--no-control-socket",
        # Which proxy is believed is for portal/headers.py to say; gunicorn would believe any on this machine.
        "--forwarded-allow-ips",
        "",
    )
    pace = ("--worker-class", "gthread", "--threads", str(settings.WEB_THREADS), "--graceful-timeout", "3")
    return Part("web", (sys.executable, *argv, *pace, "--keep-alive", "30"), environment)
