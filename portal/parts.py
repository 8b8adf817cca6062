"""The parts of the portal as programs: broker, SFTP host, worker, beat, web."""

import signal
import sys

from django.conf import settings

from .broker import embedded_configuration, embedded_server, embedded_socket
from .runner import Part


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
    """The Celery worker. TERM lets running tasks end. If the runner died it is killed at once, for the rows remember.

    Celery's own cold shutdown (QUIT) can hang on a thread of its pool; its processes die with it (see celery.py).
    """
    argv = ("-m", "celery", "-A", "portal", "worker", "--loglevel", settings.LOG_LEVEL)
    pace = ("--concurrency", str(settings.WORKER_PROCESSES), "--without-gossip", "--without-mingle")
    return Part("worker", (sys.executable, *argv, *pace), environment, 10.0, signal.SIGKILL)


def beat_part(environment: dict[str, str]) -> Part:
    """Celery beat with its schedules in the database."""
    argv = ("-m", "celery", "-A", "portal", "beat", "--loglevel", settings.LOG_LEVEL, "--pidfile", "")
    return Part("beat", (sys.executable, *argv), environment)


def web_part(port: int, environment: dict[str, str]) -> Part:
    """gunicorn: one process, several threads, on the loopback unless told otherwise."""
    argv = (
        "-m",
        "gunicorn",
        "portal.wsgi",
        "--bind",
        f"{settings.BIND_ADDRESS}:{port}",
        "--no-control-socket",
    )
    pace = ("--worker-class", "gthread", "--threads", str(settings.WEB_THREADS), "--graceful-timeout", "3")
    return Part("web", (sys.executable, *argv, *pace, "--keep-alive", "30"), environment)
