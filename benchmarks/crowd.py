"""A portal as large as a country: rows made by PostgreSQL itself, a million a few seconds.

Thirteen thousand districts with an administrator, two keys and an account each, and two million epochs in all the
states there are, most of them loaded. Nothing lies on any disk: pages are shown from rows alone.
"""

import os

from django.contrib.auth.hashers import make_password
from django.db import connection, models
from django.utils import timezone

from accounts.models import AuditEntry, District, Membership, OutboxMessage, SftpAccount, User
from hosts.models import Host, SignIn
from ingest.models import Epoch, EpochFile, GuardState, StepTime
from keys.models import AccountKey, KeyFile, KeySet, PropagationRun

DISTRICTS, EPOCHS = 13_000, 2_000_000
# Of a thousand epochs so many are in these states; the others are loaded, and one a district is of last night.
ODD = {"failed": 20, "discarded": 3, "superseded": 5, "blackout": 2, "undone": 1, "gone": 4}
# Of a thousand districts so many have a last night in these states.
OPEN = {"held": 4, "waiting_staff": 6, "stuck": 1, "failed": 10, "arriving": 5, "queued": 3}
KEY = "'AAAAC3NzaC1lZDI1NTE5AAAAI' || encode(sha256(('key' || i)::bytea), 'hex')"


def _fill(model: type[models.Model], count: int, **columns: str) -> None:
    """So many rows: a column is what its expression says of `i`, which counts from 1, else the field's default."""
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    told, values = [], []
    for field in fields:
        if field.name in columns:
            # What is percent to the database is no parameter.
            told.append(columns[field.name].replace("%", "%%"))
        else:
            told.append("%s")
            values.append(field.get_db_prep_save(field.get_default(), connection))
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    table = connection.ops.quote_name(model._meta.db_table)
    command = f"INSERT INTO {table} ({names}) SELECT {', '.join(told)} FROM generate_series(1, {count}) AS i"
    with connection.cursor() as cursor:
        cursor.execute(command, values)


def _case(parts: dict[str, int], of: str, otherwise: str) -> str:
    edge, lines = 0, []
    for state, count in parts.items():
        edge += count
        lines.append(f"WHEN {of} < {edge} THEN '{state}'")
    return f"CASE {' '.join(lines)} ELSE '{otherwise}' END"


def crowd_make(districts: int = DISTRICTS, epochs: int = EPOCHS) -> None:
    """Fills an empty database of a portal."""
    now = f"'{timezone.now().isoformat()}'::timestamptz"
    password = make_password(os.urandom(16).hex())
    _fill(User, districts, email="'person' || i || '@crowd.example'", name="'Person ' || i", password=f"'{password}'")
    host = Host.objects.create(name="crowd-1", kind="openssh", address="crowd.example", last_ok=timezone.now())
    first_user, first_host = User.objects.order_by("pk").first(), host.pk
    assert first_user is not None
    _fill(
        District,
        districts,
        name="'District ' || lpad(i::text, 6, '0')",
        slug="'crowd-' || i",
        domain="'crowd' || i || '.k12.example'",
        created=f"{now} - interval '400 days'",
    )
    first = District.objects.order_by("pk").values_list("pk", flat=True)[0]
    one = f"{first} + i - 1"
    _fill(Membership, districts, user=f"{first_user.pk} + i - 1", district=one, role="'district administrator'")
    _fill(SftpAccount, districts, district=one, host=str(first_host), username="'crowd' || i || '.k12.example'")
    account = SftpAccount.objects.order_by("pk").values_list("pk", flat=True)[0]
    own = f"{account} + i - 1"
    on_host = {"state": "'on_host'", "on_host_since": f"{now} - interval '90 days'", "host_version": "1"}
    _fill(KeyFile, districts, account=own, has_home="true", read_at=now, wanted=now, **on_host)
    told = {"account": own, "version": "1", "cause": "'saved'", "on_host": f"{now} - interval '90 days'"}
    _fill(KeySet, districts, token="md5('set' || i)", at=f"{now} - interval '90 days' - interval '20 seconds'", **told)
    half = f"{account} + (i - 1) / 2"
    names = {"algorithm": "'ssh-ed25519'", "comment": "'server-' || i", "fingerprint": "'SHA256:' || md5('f' || i)"}
    _fill(AccountKey, 2 * districts, account=half, position="i % 2", blob=KEY, added=now, **names)
    _epochs(districts, epochs, first, account, now)
    tried = {"username": f"'crowd' || (1 + i % {districts}) || '.k12.example'", "accepted": "i % 20 > 0"}
    tried["mark"] = "'m' || i"
    _fill(
        SignIn,
        20 * districts,
        host=str(first_host),
        at=f"{now} - i * interval '4 seconds'",
        address="'192.0.2.1'",
        **tried,
    )
    _fill(PropagationRun, 24 * 90, cause="'hourly'", state="'done'", total=str(districts))
    letter = {"kind": "'epoch-failed'", "subject": "'Files'", "text": "'See the page.'", "state": "'sent'"}
    _fill(OutboxMessage, 4 * districts, key="'crowd' || i", to="'person' || i || '@crowd.example'", **letter)
    entry = {"action": "'key.added'", "actor": "'person' || i", "subject": "'crowd-' || i", "digest": "md5(i::text)"}
    _fill(AuditEntry, 10 * districts, number="i + 1000", at=now, district=f"'crowd-' || (1 + i % {districts})", **entry)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _epochs(districts: int, epochs: int, first: int, account: int, now: str) -> None:
    """Night i is of district i modulo all; the last of each district was seen within the last day."""
    nights = max(epochs // districts, 1)
    night = f"((i - 1) / {districts})"
    seen = f"({now} - ({nights} - 1 - {night}) * interval '1 day' - (i % 400) * interval '1 minute')"
    last = f"{night} = {nights} - 1"
    open_ = _case(OPEN, "(i * 7919::bigint % 1000)", "loaded")
    state = f"CASE WHEN {last} THEN {open_} ELSE {_case(ODD, '(i * 7907::bigint % 1000)', 'loaded')} END"
    unfinished = f"{last} AND {state} NOT IN ('loaded', 'failed')"
    told = {
        "district": f"{first} + (i - 1) % {districts}",
        "account": f"{account} + (i - 1) % {districts}",
        "name": f"to_char({seen}, 'YYYYMMDD-HH24MISS') || '-' || {night}",
        "state": state,
        "first_seen": seen,
        "look_since": seen,
        "queued": f"CASE WHEN {unfinished} THEN NULL ELSE {seen} + interval '1 minute' END",
        "started": f"CASE WHEN {unfinished} THEN NULL ELSE {seen} + interval '2 minutes' END",
        "finished": f"CASE WHEN {unfinished} THEN NULL ELSE {seen} + interval '3 minutes' END",
        "format": "'oneroster-1.1'",
        "file_count": "7",
        "is_ok": "true",
    }
    _fill(Epoch, nights * districts, **told)
    start = Epoch.objects.order_by("pk").values_list("pk", flat=True)[0]
    recent = min(nights, 10) * districts
    newest = f"{start} + {nights * districts} - i"
    counts = {"rows": "1000 + i % 500", "added": "i % 7", "changed": "i % 90", "removed": "i % 3", "records": "1000"}
    file = {"position": "1", "name": "'users.csv'", "size": "100000", "sha256": "md5(i::text)", "table": "'users'"}
    _fill(EpochFile, recent, epoch=newest, **file, **counts)
    _fill(StepTime, recent, epoch=newest, step="'load'", finished=now)
    _fill(GuardState, districts, district=f"{first} + i - 1")
