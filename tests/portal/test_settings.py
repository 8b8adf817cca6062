"""Settings, checks, broker, ports, commands and the words for times."""

import ast
import os
import re
import secrets
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings, settings
from django.core.management import CommandError, call_command, get_commands
from django.db import connection
from django.utils import timezone

from portal import broker, checks
from portal import settings as shipped
from portal.celery import SCHEDULES, app
from portal.management.commands import up
from portal.runner import AlreadyRunning, Part, free_port, take_data_directory
from portal.templatetags import moments, prose

ROOT = settings.BASE_DIR
DOCUMENTED = re.compile(r"^\| `([A-Z_]+)` \| (.*?) \| .* \|$", re.MULTILINE)


def _read_by_settings() -> set[str]:
    """The names that portal/settings.py asks the environment for."""
    tree = ast.parse((ROOT / "portal" / "settings.py").read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    mine = [node for node in calls if isinstance(node.func.value, ast.Name) and node.func.value.id == "env"]
    return {node.args[0].value for node in mine if node.func.attr != "email_url"}


def test_the_page_on_settings_tells_each_one_and_no_other() -> None:
    told = DOCUMENTED.findall((ROOT / "docs" / "configuration.md").read_text("utf-8"))
    assert sorted(name for name, _ in told) == sorted(_read_by_settings())


def test_the_page_on_settings_tells_the_numbers_that_are_so() -> None:
    told = DOCUMENTED.findall((ROOT / "docs" / "configuration.md").read_text("utf-8"))
    numbers = {name: int(value.strip("`")) for name, value in told if value.strip("`").isdecimal()}
    assert len(numbers) > 10
    assert {name: getattr(shipped, name) for name in numbers} == numbers


def test_nothing_but_settings_reads_the_environment() -> None:
    readers = []
    for package in ("portal", "ingest", "keys", "accounts", "hosts"):
        for path in (ROOT / package).rglob("*.py"):
            if re.search(r"os\.getenv|os\.environ(?!\.setdefault|\}|, \*\*)", path.read_text("utf-8")):
                readers.append(str(path.relative_to(ROOT)))
    # `up` asks only whether an address was given, to know what to print.
    assert sorted(readers) == ["portal/management/commands/up.py"]


def test_a_comma_at_the_end_makes_no_empty_key(tmp_path: Path) -> None:
    code = "from portal import settings; print(settings.SECRETS_KEYS)"
    told = {**os.environ, "DATA_DIR": str(tmp_path), "SECRETS_KEYS": "new, old, "}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=told, capture_output=True, text=True, check=True)
    assert done.stdout == "['new', 'old']\n"


# --- Checks ------------------------------------------------------------------------------------------------------


def _ids(found: object) -> list[str]:
    return [message.id for message in found]


def test_settings_as_they_ship_are_fine() -> None:
    assert (
        _ids(
            [
                *checks.broker_can_run(None),
                *checks.paces_make_sense(None),
                *checks.formats_are_sound(None),
                *checks.proxies_are_known(None),
            ]
        )
        == []
    )


PACES = (
    "INGEST_LOOK_SECONDS",
    "SWEEP_SECONDS",
    "LEASE_SECONDS",
    "WORKER_PROCESSES",
    "HOST_THREADS",
    "PROCESSED_DAYS",
)


@pytest.mark.parametrize("name", PACES)
def test_a_pace_that_would_stop_the_work_is_an_error_that_says_how_to_mend_it(
    settings: LazySettings, name: str
) -> None:
    setattr(settings, name, 0)
    (found,) = checks.paces_make_sense(None)
    assert (found.id, name in found.msg, name in found.hint) == ("portal.E002", True, True)


def test_a_rest_that_is_too_short_is_a_warning(settings: LazySettings) -> None:
    settings.INGEST_QUIET_SECONDS = 1
    assert _ids(checks.paces_make_sense(None)) == ["portal.W001"]


@pytest.mark.parametrize(("there", "found"), [(None, []), (91, ["portal.W002"]), (92, [])])
def test_a_database_that_lets_too_few_in_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, there: int | None, found: list[str]
) -> None:
    monkeypatch.setattr(checks, "_connections_there", lambda: there)
    assert _ids(checks.database_lets_all_parts_in(None)) == found


def test_the_page_on_operations_tells_how_many_connections_there_are() -> None:
    told = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert f"= {checks.connections_needed()}, which" in told


def test_only_postgresql_is_asked_for_its_connections(db: None) -> None:
    assert connection.vendor != "sqlite" or checks._connections_there() is None


def test_a_machine_without_a_broker_is_told_what_to_set(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "embedded_server", lambda: None)
    (found,) = checks.broker_can_run(None)
    assert (found.id, "BROKER_URL" in found.hint) == ("portal.E001", True)
    settings.BROKER_IS_EMBEDDED = False
    assert _ids(checks.broker_can_run(None)) == []


def test_a_proxy_that_is_no_address_is_an_error(settings: LazySettings) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.1", "proxy.example"]
    (found,) = checks.proxies_are_known(None)
    assert (found.id, "proxy.example" in found.msg) == ("portal.E004", True)


@pytest.mark.parametrize(("listed", "found"), [([], ["portal.E005"]), (["10.0.0.0/8"], [])])
def test_a_proxy_that_must_be_there_and_is_not_listed_is_an_error(
    settings: LazySettings, listed: list[str], found: list[str]
) -> None:
    settings.IS_HTTPS, settings.TRUSTED_PROXIES = True, listed
    assert _ids(checks.proxies_are_known(None)) == found


@pytest.mark.parametrize(("is_https", "is_required", "found"), [(1, 0, ["portal.W004"]), (1, 1, []), (0, 0, [])])
def test_a_password_alone_is_a_warning_where_people_come_over_the_network(
    settings: LazySettings, is_https: int, is_required: int, found: list[str]
) -> None:
    settings.IS_HTTPS, settings.SECOND_FACTOR_REQUIRED = bool(is_https), bool(is_required)
    assert _ids(checks.staff_have_second_factors(None)) == found


COMPULSORY = (
    ({}, False),
    ({"DEMO": "0"}, True),
    ({"PUBLIC_URL": "https://portal.example"}, True),
    ({"DEMO": "0", "SECOND_FACTOR_REQUIRED": "0"}, False),
)


@pytest.mark.parametrize(("told", "is_required"), COMPULSORY)
def test_only_the_demonstration_on_one_machine_lets_staff_in_without(
    tmp_path: Path, told: dict[str, str], is_required: bool
) -> None:
    code = "from portal import settings; print(settings.SECOND_FACTOR_REQUIRED)"
    env = {**os.environ, "DATA_DIR": str(tmp_path), **told}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(is_required)


def test_a_descriptor_that_cannot_be_used_is_found_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise checks.DescriptorError("not-json", "x.json", "It is no JSON.")

    monkeypatch.setattr(checks, "formats", broken)
    assert _ids(checks.formats_are_sound(None)) == ["portal.E003"]


# --- Broker and ports --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [20, 80, 103, 200, 1000])
def test_the_brokers_socket_has_a_path_the_kernel_takes(length: int) -> None:
    data_dir = Path("/" + "x" * length)
    socket_path = broker.embedded_socket(data_dir)
    assert len(os.fsencode(socket_path)) <= broker.LONGEST_SOCKET_PATH
    assert str(socket_path) in broker.embedded_broker_url(data_dir)


def test_two_data_directories_have_two_sockets() -> None:
    one, two = (broker.embedded_socket(Path("/" + "x" * 200 + name)) for name in ("a", "b"))
    assert one != two


def test_the_broker_keeps_its_tasks_and_opens_no_port(tmp_path: Path) -> None:
    told = broker.embedded_configuration(tmp_path).splitlines()
    assert {"port 0", "appendonly yes", "maxmemory-policy noeviction", "unixsocketperm 700"} <= set(told)


def test_a_port_that_is_taken_is_not_given_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        found = free_port(wanted, "127.0.0.1")
    assert found != wanted
    assert free_port(found, "127.0.0.1") == found


def test_a_port_on_an_address_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        free_port(0, "192.0.2.1")


def test_a_data_directory_is_worked_on_by_one(tmp_path: Path) -> None:
    first = take_data_directory(tmp_path)
    with pytest.raises(AlreadyRunning):
        take_data_directory(tmp_path, patience=0.1)
    os.close(first)
    os.close(take_data_directory(tmp_path, patience=0.1))


# --- Tasks and commands ------------------------------------------------------------------------------------------


def test_every_schedule_names_a_task_that_exists() -> None:
    app.loader.import_default_modules()
    assert {schedule.task for schedule in SCHEDULES} <= set(app.tasks)


def _queue_of(task: str) -> str:
    return app.amqp.router.route({}, task)["queue"].name


def _queues_read_by(part: Part) -> list[str]:
    return part.argv[part.argv.index("--queues") + 1].split(",")


def test_each_queue_has_one_worker_and_a_saved_key_waits_for_no_run() -> None:
    app.loader.import_default_modules()
    ours = [task for task in app.tasks if not task.startswith("celery.")]
    workers = [_queues_read_by(made({})) for name, made in up.ELSEWHERE.items() if name != "beat"]
    assert sorted(queue for queues in workers for queue in queues) == sorted({_queue_of(task) for task in ours})
    with_saves = [task for task in ours if _queue_of(task) == _queue_of("keys.propagate_account")]
    assert with_saves == ["keys.propagate_account"]
    # The sweep brings what was left behind, so it may take as long as a run does.
    runs = ("keys.propagate_all", "keys.propagate_run", "keys.propagate_part", "keys.sweep_host")
    # No uploads, however many and large, keep these waiting.
    soon = ("keys.retire", "keys.judge", "hosts.read_sign_ins")
    # One host each, over the network.
    hosts = ("hosts.read_sign_ins_of", "hosts.ask_condition_of", "ingest.look_at_host", "ingest.purge", "ingest.forget")
    long = ("portal.tell_audit_head", "portal.import_districts")
    assert sorted(task for task in ours if _queue_of(task) == "runs") == sorted((*runs, *soon, *hosts, *long))
    assert [task for task in ours if _queue_of(task) == "celery"] == ["ingest.process"]


def test_neither_a_slow_host_nor_a_long_epoch_holds_up_mail_and_those_who_hand_out_work() -> None:
    app.loader.import_default_modules()
    ours = [task for task in app.tasks if not task.startswith("celery.")]
    hand_out = ("hosts.ask_conditions", "ingest.look", "ingest.sweep", "keys.sweep")
    tell = ("accounts.send_mail", "accounts.send_digests", "accounts.sweep_mail", "ingest.tell_missing", "keys.remind")
    assert sorted(task for task in ours if _queue_of(task) == "soon") == sorted((*hand_out, *tell))
    readers = [
        made({}) for name, made in up.ELSEWHERE.items() if name != "beat" and "soon" in _queues_read_by(made({}))
    ]
    # Two letters and a look may be under way, and there is still a thread.
    assert [(part.name, part.argv[part.argv.index("--pool") + 1 :][:3]) for part in readers] == [
        ("worker-soon", ("threads", "--concurrency", "4"))
    ]


def test_checks_before_sending_are_read_by_the_worker_whose_threads_only_wait() -> None:
    app.loader.import_default_modules()
    ours = [task for task in app.tasks if not task.startswith("celery.")]
    assert [task for task in ours if _queue_of(task) == "trials"] == ["ingest.check_trials"]
    readers = [
        made({}) for name, made in up.ELSEWHERE.items() if name != "beat" and "trials" in _queues_read_by(made({}))
    ]
    assert [(part.name, "threads" in part.argv) for part in readers] == [("worker-runs", True)]
    assert settings.TRIALS_AT_ONCE < settings.HOST_THREADS / 4


def test_no_worker_and_no_beat_spends_its_start_on_checks_and_on_what_reads_large_files() -> None:
    for made in up.ELSEWHERE.values():
        assert made({"PORT": "1"}).environment == {"PORT": "1", "CELERY_SKIP_CHECKS": "1"}
    asked = "import sys, portal; portal.celery_app.loader.import_default_modules(); print(*sys.modules)"
    told = {**os.environ, "CELERY_SKIP_CHECKS": "1"}
    loaded = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, env=told, capture_output=True, text=True, check=True
    )
    assert {"keys.tasks", "ingest.tasks"} <= set(loaded.stdout.split())
    assert set(loaded.stdout.split()) & {"pyarrow", "numpy", "polars", "asyncssh", "portal.urls"} == set()


def test_only_json_goes_through_the_broker() -> None:
    assert (app.conf.accept_content, app.conf.task_serializer) == (["json"], "json")


def test_our_commands_are_those_tested_here() -> None:
    ours = {name for name, package in get_commands().items() if package in ("portal", "ingest", "keys", "accounts")}
    assert ours == {"blocklist", "check_epoch", "check_key", "push_keys", "up", "verify_audit"}


def test_up_says_what_to_install_where_there_is_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.management.commands.up.embedded_server", lambda: None)
    with pytest.raises(CommandError, match="BROKER_URL"):
        call_command("up", stdout=StringIO())


def test_up_does_not_start_twice_on_one_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(data_dir: Path) -> int:
        raise AlreadyRunning

    monkeypatch.setattr("portal.management.commands.up.take_data_directory", taken)
    with pytest.raises(CommandError, match="Another portal is running"):
        call_command("up", stdout=StringIO())


def test_a_deployment_behind_https_passes_djangos_own_checks(tmp_path: Path) -> None:
    told = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "PUBLIC_URL": "https://portal.example",
        "ALLOWED_HOSTS": "portal.example",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SECRET_KEY": secrets.token_urlsafe(60),
    }
    told.pop("DJANGO_ALLOW_ASYNC_UNSAFE")
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- Words for times and sentences -------------------------------------------------------------------------------

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("apart", "says"),
    [
        ({"seconds": 0}, "just now"),
        ({"seconds": -44}, "just now"),
        ({"seconds": 10}, "in a moment"),
        ({"seconds": -45}, "1 minute ago"),
        ({"minutes": -12}, "12 minutes ago"),
        ({"minutes": 1}, "in 1 minute"),
        ({"minutes": -60}, "1 hour ago"),
        ({"hours": 5}, "in 5 hours"),
        ({"hours": -24}, "1 day ago"),
        ({"days": -3}, "19 Nov, 12:00"),
    ],
)
def test_a_moment_is_said_as_people_say_it(apart: dict[str, int], says: str) -> None:
    with timezone.override("UTC"):
        assert moments.said(NOW + timedelta(**apart), NOW) == says


@pytest.mark.parametrize("minutes", [59, 60, *range(40, 60 * 48, 7)])
def test_no_moment_is_said_to_be_sixty_minutes_or_twenty_four_hours_away(minutes: int) -> None:
    assert not re.match(
        r"(in )?(60 minutes|24 hours)", moments.said(NOW - timedelta(minutes=minutes, seconds=-29), NOW)
    )


def test_no_moment_is_never() -> None:
    assert moments.moment(None) == "never"
    assert moments.clock(None) == ""


def test_a_clock_time_has_its_zone_and_its_day_if_it_is_not_today() -> None:
    with timezone.override("America/New_York"):
        assert re.fullmatch(r"\d\d:\d\d E[SD]T", moments.clock(timezone.now()))
        assert moments.clock("2026-01-02T15:00:00+00:00") == "2 Jan 10:00 EST"


@pytest.mark.parametrize(("part", "whole", "says"), [(0, 0, 0), (5, 10, 50), (11, 10, 100), (1, 3, 33)])
def test_a_part_of_a_hundred(part: int, whole: int, says: int) -> None:
    assert moments.percent_of(part, whole) == says


def test_a_fingerprint_can_be_read_aloud() -> None:
    assert moments.aloud("SHA256:abcdefghij") == "SHA256:abcd efgh ij"


def test_a_sentence_is_escaped_before_its_names_are_set_as_code() -> None:
    assert prose.coded("`<b>` and <i>") == "<code>&lt;b&gt;</code> and &lt;i&gt;"
