"""`manage.py up`: the whole portal on this machine, as one tree of processes."""

import os
import socket
import urllib.request
from typing import Any

from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from hosts.connect import fingerprint
from hosts.models import Host
from keys.models import PropagationRun
from keys.services import run_want
from portal import demo, parts
from portal.broker import embedded_server, embedded_socket
from portal.checks import OURS
from portal.runner import AlreadyRunning, Runner, free_port, take_data_directory
from portal.schedules import schedules_sync

# What may be left to another machine, or to a unit of systemd.
ELSEWHERE = {
    "worker": parts.worker_part,
    "worker-keys": parts.keys_worker_part,
    "worker-runs": parts.runs_worker_part,
    "worker-soon": parts.soon_worker_part,
    "beat": parts.beat_part,
}


class Command(BaseCommand):
    """Starts broker, SFTP host, workers, beat and web; watches them; stops them in order on Ctrl-C or TERM."""

    help = "Start the whole portal: web, Celery workers, Celery beat, broker and SFTP host."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """`--without worker` leaves a part to be run elsewhere."""
        parser.add_argument("--without", action="append", default=[], choices=list(ELSEWHERE))

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until asked to stop."""
        self._broker_must_exist()
        self._settings_must_work()
        try:
            lock = take_data_directory(settings.DATA_DIR)
        except AlreadyRunning:
            raise CommandError(
                f"Another portal is running on {settings.DATA_DIR}. Stop it first, or set DATA_DIR to another one."
            ) from None
        runner = Runner(settings.DATA_DIR / "log", lock, self._say)
        try:
            self._run(runner, frozenset(options["without"]))
        finally:
            self._say("Stopping ...")
            runner.stop()
            self._say("Stopped.")

    def _broker_must_exist(self) -> None:
        if settings.BROKER_IS_EMBEDDED and embedded_server() is None:
            raise CommandError(
                "There is no embedded broker for this kind of machine. Install a Redis or Valkey server and start the "
                "portal with its address, for example: make run BROKER_URL=redis://127.0.0.1:6379/0"
            )

    def _settings_must_work(self) -> None:
        for problem in run_checks(tags=[OURS]):
            if problem.is_serious():
                raise CommandError(f"{problem.msg} {problem.hint or ''}".strip())
            self._say(f"{problem.msg} {problem.hint or ''}".strip())

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _run(self, runner: Runner, without: frozenset[str]) -> None:
        port = self._port("PORT", settings.PORT)
        sftp_port = self._port("SFTP_PORT", settings.SFTP_PORT)
        environment = {"PORT": str(port), "SFTP_PORT": str(sftp_port)}
        if settings.BROKER_IS_EMBEDDED:
            runner.start(parts.broker_part())
        runner.start(parts.sftp_part(sftp_port))
        self._migrate()
        # The pages come up while the rest is prepared: nobody can sign in before the people are made anyway.
        runner.start(parts.web_part(port, environment))
        if settings.BROKER_IS_EMBEDDED and not runner.wait_until("The broker", _broker_answers, 10):
            return
        if not runner.wait_until("The SFTP host", lambda: _listens(sftp_port), 20):
            return
        people, is_first = self._prepare(sftp_port)
        for name, part in ELSEWHERE.items():
            if name not in without:
                runner.start(part(environment))
        if runner.wait_until("The web pages", lambda: _web_answers(port), 30):
            self._greet(port, sftp_port, people, is_first)
            runner.watch()

    def _port(self, name: str, wanted: int) -> int:
        port = free_port(wanted, settings.BIND_ADDRESS)
        if port != wanted:
            self._say(f"Port {wanted} is taken by another program; using {port} instead ({name}={port}).")
        return port

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self._say("Preparing the database ...")
            call_command("migrate", interactive=False, verbosity=0)

    def _prepare(self, sftp_port: int) -> tuple[tuple[demo.Person, ...], bool]:
        schedules_sync()
        values = {
            "address": settings.SFTP_HOST_NAME,
            "port": sftp_port,
            "fingerprint": _host_key_fingerprint(),
            "host_key": _host_key(),
        }
        Host.objects.update_or_create(name="upload-1", defaults=values)
        people = demo.first_people()
        is_first = demo.people_make(people)
        if is_first and settings.DEMO:
            demo.epochs_put()
        # The database may be an older one that was restored: every host is asked at once what it has.
        run_want(PropagationRun.Cause.START, actor=None)
        return people, is_first

    def _greet(self, port: int, sftp_port: int, people: tuple[demo.Person, ...], is_first: bool) -> None:
        address = settings.PUBLIC_URL if "PUBLIC_URL" in os.environ else f"http://localhost:{port}"
        self._say("")
        self._say(f"  SFTP Portal   {address}")
        self._say(f"  SFTP host     {settings.SFTP_HOST_NAME} port {sftp_port}")
        self._say(f"  Host key      {_host_key_fingerprint()} (ED25519)")
        self._say(f"  Data          {settings.DATA_DIR}")
        self._say("")
        if people:
            self._say("  People" + ("" if is_first else " (with the passwords they had at first start)"))
        for person in people:
            place = person.district or settings.VENDOR_NAME
            self._say(f"    {person.email:<28} {person.password:<19} {person.role}, {place}")
        if settings.DEMO and not settings.SECOND_FACTOR_REQUIRED:
            self._say("")
            self._say("  A demonstration: staff sign in without a second factor. Elsewhere they need one (DEMO=0).")
        self._say("")
        self._say("  Ctrl-C stops everything.")


def _broker_answers() -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(embedded_socket(settings.DATA_DIR)))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _probe_address() -> str:
    return "127.0.0.1" if settings.BIND_ADDRESS in ("", "0.0.0.0") else settings.BIND_ADDRESS


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((_probe_address(), port), timeout=1):
            return True
    except OSError:
        return False


def _web_answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{_probe_address()}:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _host_key_fingerprint() -> str:
    """The SHA-256 fingerprint of the embedded host's key, as `ssh-keygen -l` shows it."""
    return fingerprint(_host_key())


def _host_key() -> str:
    """The embedded host's key, `type base64`."""
    return " ".join((settings.SFTP_ROOT / "host_ed25519.pub").read_text("ascii").split()[:2])
