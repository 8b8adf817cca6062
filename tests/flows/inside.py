"""The hand inside a portal under test: reads calls as JSON lines, answers each with one."""

import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.db import close_old_connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts import audit, services  # noqa: E402
from accounts.core.roles import Role  # noqa: E402
from accounts.models import AuditEntry, District, OutboxMessage, User  # noqa: E402
from hosts.models import SignIn  # noqa: E402
from ingest.models import Epoch, EpochFile, Finding, Record, StepTime  # noqa: E402
from keys.core.parse import parse_paste  # noqa: E402
from keys.models import KeyFile, PropagationRun, SharedKeyRequest  # noqa: E402
from keys.nightly import retire_due  # noqa: E402
from keys.propagation import push_one  # noqa: E402
from keys.selectors import next_hourly_run  # noqa: E402
from keys.services import keys_save, run_want  # noqa: E402
from keys.sets import By  # noqa: E402

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
        next_run,
        sign_ins,
        epochs,
        steps,
        snapshot,
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
