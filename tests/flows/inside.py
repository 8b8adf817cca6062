"""The hand inside a portal under test: reads calls as JSON lines, answers each with one."""

import json
import os
import re
import sys
import traceback
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.db import close_old_connections, connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts import audit, services  # noqa: E402
from accounts.core.roles import Role  # noqa: E402
from accounts.models import AuditEntry, District, OutboxMessage, SftpAccount, User  # noqa: E402
from hosts.connect import fingerprint  # noqa: E402
from hosts.models import DamagedHome, Host, SignIn  # noqa: E402
from ingest.models import (  # noqa: E402
    Epoch,
    EpochFile,
    Finding,
    GuardState,
    Judgement,
    Record,
    StandingLimit,
    StepTime,
)
from ingest.tasks import tell_missing  # noqa: E402
from keys.core.parse import parse_paste  # noqa: E402
from keys.models import FoundLine, HostRun, KeyFile, PropagationFailure, PropagationRun, SharedKeyRequest  # noqa: E402
from keys.nightly import retire_due  # noqa: E402
from keys.propagation import push_one  # noqa: E402
from keys.selectors import next_hourly_run  # noqa: E402
from keys.services import host_add, keys_save, propagation_want, run_want  # noqa: E402
from keys.sets import PORTAL, By  # noqa: E402

CLOCK = re.compile(r"^(Started|Finished): .*$", re.MULTILINE)
PASSWORD = "five-odd-words-for-tests"


def person(email: str, name: str, staff_role: str = "") -> str:
    """A person who can sign in with PASSWORD."""
    services.person_make(email, name, PASSWORD, staff_role=Role(staff_role) if staff_role else None)
    return PASSWORD


def district(name: str, domain: str, administrator: str = "") -> str:
    """A district, with a person who administers it; its slug."""
    made = services.district_open(name, domain, time_zone="America/New_York", actor=None)
    if administrator:
        person(administrator, f"Administrator of {name}")
        user = User.objects.get(email=administrator)
        services.membership_give(user, made, Role.DISTRICT_ADMINISTRATOR, actor=None)
    return made.slug


def save_keys(slug: str, text: str) -> None:
    """Saves a district's keys as its administrator would. One pair may serve many districts, as one provider does."""
    made = District.objects.get(slug=slug)
    account = made.sftp_account
    for key in parse_paste(text).keys:
        allowed = {"label": key.label, "state": SharedKeyRequest.State.ALLOWED}
        account.shared_key_requests.get_or_create(fingerprint=key.fingerprint, defaults=allowed)
    by = By(User.objects.filter(memberships__district=made).first())
    keys_save(account, text, seen_version=account.key_file.version, by=by)


def retire(days: int) -> int:
    """Retires replaced keys as if so many days had gone by; how many accounts it changed."""
    changed = retire_due(timezone.now() + timedelta(days=days))
    for account in changed:
        push_one(account)
    return len(changed)


def sign_ins_grow_old() -> None:
    """Makes everybody's last sign-in older than a change of keys allows."""
    for row in Session.objects.all():
        session = SessionStore(row.session_key)
        for record in session.get("account_authentication_methods", []):
            record["at"] -= settings.FRESH_SIGN_IN_SECONDS
        session.modified = True
        session.save()


def key_file(slug: str) -> dict[str, object]:
    """How far a district's key file has got."""
    row = KeyFile.objects.get(account__district__slug=slug)
    return {"state": row.state, "version": row.version, "host_version": row.host_version, "reason": row.reason}


def key_files() -> dict[str, int]:
    """How many key files are in each state."""
    told: dict[str, int] = {}
    for state in KeyFile.objects.values_list("state", flat=True):
        told[state] = told.get(state, 0) + 1
    return told


def runs() -> list[dict[str, object]]:
    """Every propagation run, newest first."""
    fields = ("cause", "state", "total", "written", "unchanged", "failed")
    return [{field: getattr(run, field) for field in fields} for run in PropagationRun.objects.all()]


def run_now() -> None:
    """“Propagate now”."""
    run_want(PropagationRun.Cause.NOW, actor=User.objects.first())


def found_lines(username: str) -> int:
    """How many lines were taken out of an account's file."""
    return FoundLine.objects.filter(username=username).count()


def fingerprint_of(line: str) -> str:
    """The fingerprint of a key line."""
    return fingerprint(line)


def propagation_states() -> dict[str, int]:
    """A host in each state, a run of each kind: their numbers."""
    now, hour = timezone.now(), timedelta(hours=1)
    right = {"host_key": _host_key(1), "state": Host.State.READY, "last_ok": now, "client_key_made": now - hour}
    shown = {"offered_key": _host_key(2), "offered_at": now}
    told = {"free_bytes": 2**36, "asked": now, "accounts_there": 0, "openssh": "OpenSSH_9.2p1", "system": "Debian 12"}
    hosts = {
        "new": {},
        "offered": shown,
        "working": right | told,
        "stopped": right | shown | {"state": Host.State.STOPPED, "reason": "It showed another host key."},
        "away": right | {"tries": 3, "next_try": now + hour, "reason": "The host did not answer in time."},
        "refusing": right | {"reason": "“refusing” does not let the portal in. Install the portal's public key there."},
        "full": right | {"free_bytes": 2**20},
        "damaged": right,
        "new-key": right | {"client_key_made": now + hour},
    }
    numbers = {name: _host(name, values) for name, values in hosts.items()}
    run = PropagationRun.objects.create(cause="hourly", state="done", started=now, finished=now, total=1, failed=1)
    ended = {"run": run, "started": now, "finished": now + hour}
    part = HostRun.objects.create(
        host=Host.objects.get(kind=Host.Kind.EMBEDDED), state="stopped", unasked=30, unasked_digest="0" * 64, **ended
    )
    HostRun.objects.create(host_id=numbers["away"], state="failed", code="host-down", reason="No answer.", **ended)
    account = SftpAccount.objects.first()
    for code in ("upload-blocked", "home-blocked"):
        reason = "Something lies in its home on the host where a directory should be."
        DamagedHome.objects.create(host_id=numbers["damaged"], username=f"{code}.example", code=code, reason=reason)
    PropagationFailure.objects.create(run=run, account=account, code="full", reason="The host has no room.")
    last = PropagationRun.objects.exclude(pk=run.pk).first()
    saved = {"cause": "saved", "state": "done", "asked": now - hour, "started": now, "finished": now}
    PropagationRun.objects.bulk_create(PropagationRun(total=1, written=1, **saved) for _ in range(60))
    return numbers | {"stopped-run": run.pk, "stopped-part": part.pk, "run": last.pk if last else run.pk}


def _host(name: str, values: dict[str, object]) -> int:
    host = host_add(f"host {name}", "127.0.0.1", 1, by=PORTAL)
    for field, value in values.items():
        setattr(host, field, value)
    host.fingerprint = fingerprint(host.host_key) if host.host_key else ""
    host.save()
    return host.pk


def host_with_districts(port: int, count: int) -> None:
    """A host at this port with so many districts, all of which have something to bring there at the same moment."""
    row = Host.objects.get(pk=_host("silent", {"host_key": _host_key(3), "state": Host.State.READY, "port": port}))
    slugs = [district(f"Silent {number}", f"silent{number}.k12.oh.us") for number in range(count)]
    accounts = SftpAccount.objects.filter(district__slug__in=slugs)
    accounts.update(host=row)
    for account in accounts:
        propagation_want(account)


def _host_key(number: int) -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes([number]) * 32
    return f"ssh-ed25519 {b64encode(blob).decode()}"


def propagation_calm() -> None:
    """Takes away what `propagation_states` made."""
    DamagedHome.objects.all().delete()
    Host.objects.exclude(kind=Host.Kind.EMBEDDED).delete()
    HostRun.objects.filter(state=HostRun.State.STOPPED).delete()


def next_run() -> str:
    """When the next run over all accounts starts."""
    return next_hourly_run().isoformat()


def sign_ins(username: str) -> list[dict[str, object]]:
    """A user name's sign-in events, newest first."""
    rows = SignIn.objects.filter(username=username)
    return [
        {"accepted": row.accepted, "fingerprint": row.fingerprint, "address": row.address, "reason": row.reason}
        for row in rows
    ]


def guard_rests(slug: str) -> None:
    """Lets a district's next night be as different from the last one as it likes."""
    made = District.objects.get(slug=slug)
    GuardState.objects.filter(district=made).update(applied=None)
    for what in ("added", "changed", "removed"):
        StandingLimit.objects.get_or_create(district=made, what=what, table="", defaults={"percent": -1})


def epochs(slug: str) -> list[dict[str, object]]:
    """A district's epochs, oldest first."""
    rows = Epoch.objects.filter(district__slug=slug).order_by("pk")
    fields = (
        "pk",
        "name",
        "state",
        "step",
        "format",
        "errors",
        "archive_name",
        "look_code",
        "look_sentence",
        "trouble",
    )
    return [{field: getattr(row, field) for field in fields} for row in rows]


def nights(slug: str) -> list[dict[str, object]]:
    """What became of each of a district's nights, oldest first: the state, all codes told, records it touched."""
    told = []
    for epoch in Epoch.objects.filter(district__slug=slug).order_by("pk"):
        judged = Judgement.objects.filter(epoch=epoch).first()
        codes = [code for _, code, _, _ in epoch.tallies]
        codes += [reason["code"] for reason in judged.reasons] if judged else []
        cause = (judged.cause or {}).get("cause", "") if judged else ""
        touched = Record.objects.filter(last_epoch=epoch).count()
        told.append({"name": epoch.name, "state": epoch.state, "codes": codes, "cause": cause, "touched": touched})
    return told


def missing_ask() -> None:
    """Asks a worker now for what beat asks for every few minutes."""
    tell_missing.delay()


def steps(slug: str) -> list[list[str]]:
    """The steps of a district's epochs in the order they finished, with their times."""
    rows = StepTime.objects.filter(epoch__district__slug=slug).order_by("finished", "pk")
    return [[row.epoch.name, row.step, row.finished.isoformat()] for row in rows.select_related("epoch")]


def snapshot(slug: str) -> dict[str, object]:
    """All that processing left behind for a district: rows, log, mail and audit entries, without clock and numbers."""
    made = District.objects.get(slug=slug)
    files = EpochFile.objects.filter(epoch__district=made)
    counts = ("name", "sha256", "table", "mode", "rows", "added", "changed", "removed", "unchanged")
    return {
        "epochs": [[epoch.name, epoch.state, epoch.step, epoch.archive_name] for epoch in made.epochs.order_by("pk")],
        "logs": [CLOCK.sub("", epoch.log) for epoch in made.epochs.order_by("pk")],
        "files": [[getattr(file, field) for field in counts] for file in files.order_by("epoch_id", "position")],
        "findings": list(Finding.objects.filter(epoch__district=made).values_list("file", "line", "column", "code")),
        "records": [
            [record.dataset.table, record.key, record.data, record.is_removed, record.last_epoch.name]
            for record in Record.objects.filter(dataset__district=made)
            .select_related("dataset", "last_epoch")
            .order_by("dataset__table", "key")
        ],
        "mail": list(OutboxMessage.objects.filter(district=made).order_by("pk").values_list("kind", "to", "subject")),
        "audit": list(AuditEntry.objects.filter(district=slug).order_by("number").values_list("action", "details")),
    }


def tables_with(marks: list[str]) -> list[str]:
    """The tables of which some row tells one of the marks, in any column."""
    found = []
    for table in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            if any(mark.lower() in str(row).lower() for row in cursor.fetchall() for mark in marks):
                found.append(table)
    return sorted(found)


def audit_is_whole() -> bool:
    """Whether the audit chain has no break."""
    return audit.broken_at() is None


def outbox(to: str) -> list[list[str]]:
    """The mails to an address, oldest first: subject and text."""
    return [[row.subject, row.text] for row in OutboxMessage.objects.filter(to=to).order_by("pk")]


CALLS: dict[str, Callable[..., object]] = {
    call.__name__: call
    for call in (
        person,
        district,
        save_keys,
        retire,
        sign_ins_grow_old,
        key_file,
        key_files,
        runs,
        run_now,
        found_lines,
        fingerprint_of,
        propagation_states,
        propagation_calm,
        host_with_districts,
        next_run,
        sign_ins,
        guard_rests,
        epochs,
        nights,
        missing_ask,
        steps,
        snapshot,
        tables_with,
        audit_is_whole,
        outbox,
    )
}


def main() -> None:
    """Answers until its input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, told = json.loads(line)
        close_old_connections()
        try:
            answer = {"result": CALLS[name](**told)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
