"""A vendor with four districts, the people around them, and one of everything a page can show."""

import gzip
from base64 import b64encode
from dataclasses import dataclass

from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.core.roles import Role
from accounts.downloads import number_of
from accounts.models import (
    District,
    DistrictImport,
    Membership,
    OutboxMessage,
    PinnedProvider,
    SecondFactorReset,
    SftpAccount,
    User,
)
from accounts.notices import message_queue
from hosts.connect import files_for, fingerprint
from hosts.core.paths import downloads
from hosts.models import Host
from ingest.models import BlackoutDays, Dataset, Epoch, FindingList, Judgement, LimitRaise, Record, Trial
from keys.core.parse import parse_paste
from keys.models import (
    AccountKey,
    FoundLine,
    HostRun,
    KeyFile,
    KeySet,
    LostKey,
    PropagationRun,
    SharedKeyRequest,
)
from keys.services import host_add
from keys.sets import PORTAL
from portal.schedules import schedules_sync
from tests.factories import DistrictFactory, EpochFactory, MembershipFactory, PersonFactory, StaffFactory
from tests.keys.samples import text
from tests.signing_in import fresh

ADMINISTRATOR, VIEWER, STRANGER = "administrator", "viewer", "stranger"
SUPPORT, OPS, SYSTEM = "support", "ops", "system"
PEOPLE = (ADMINISTRATOR, VIEWER, STRANGER, SUPPORT, OPS, SYSTEM)
STAFF = {SUPPORT: Role.SUPPORT, OPS: Role.OPS, SYSTEM: Role.SYSTEM_ADMINISTRATOR}
ISSUER = "https://id.example"
LATER = {"first": "2090-01-01", "last": "2090-01-02", "reason": "A new school."}
LATER_STILL = {"first": "2090-01-01", "last": "2090-01-02", "why": "Everybody is away."}
STATES = ("active", "suspended", "closed")
# A key that is only another district's, so that one pasted here is asked about.
THEIR_KEY = "ecdsa256"


@dataclass(frozen=True, slots=True)
class Scene:
    """`districts` by state, each with an epoch that waits for staff and two keys; `theirs` is the stranger's."""

    districts: dict[str, District]
    epochs: dict[str, Epoch]
    held: dict[str, Epoch]
    trials: dict[str, Trial]
    their_trial: Trial
    theirs: District
    their_epoch: Epoch
    keys: dict[str, AccountKey]
    their_key: AccountKey
    lost: dict[str, LostKey]
    found: dict[str, FoundLine]
    their_found: FoundLine
    asked: SharedKeyRequest
    newer: KeyFile
    stopped: HostRun
    new_host: Host
    stopped_host: Host
    raised: LimitRaise
    blackout: BlackoutDays
    pins: dict[str, PinnedProvider]
    people: dict[str, User]
    run: PropagationRun
    reset: SecondFactorReset
    mail: OutboxMessage
    imported: DistrictImport

    def client(self, person: str, *, enforce_csrf_checks: bool = False) -> Client:
        """A browser in which this person is signed in."""
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(self.people[person])
        return fresh(client)

    def _viewer_in(self, state: str) -> Membership:
        """What the viewer is in the district in that state."""
        return Membership.objects.get(user=self.people[VIEWER], district=self.districts[state])

    def kwargs(self, name: str, state: str = "active") -> dict[str, object]:
        """What an address of ours is filled with: the district in that state, and what belongs to it."""
        slug, epoch = self.districts[state].slug, self.epochs[state].pk
        own = {
            "epoch_decide": {"slug": slug, "pk": self.held[state].pk},
            "epoch_judge": {"slug": slug, "pk": self.held[state].pk},
            "epoch_answer": {"slug": slug, "pk": self.held[state].pk},
            "guard_raise_end": {"slug": slug, "pk": self.raised.pk},
            "blackouts_end": {"pk": self.blackout.pk},
            "guard_blackout_end": {"slug": slug, "pk": self.blackout.pk},
            "second_factor_decide": {"pk": self.reset.pk},
            "provider_unpin": {"slug": slug, "pk": self.pins[state].pk},
            "person_change": {"slug": slug, "pk": self._viewer_in(state).pk},
            "openid_connect_login": {"provider_id": "none"},
            "openid_connect_callback": {"provider_id": "none"},
            "outbox_message": {"pk": self.mail.pk},
            "import_shown": {"pk": self.imported.pk},
            "import_state": {"pk": self.imported.pk},
            "propagation_run": {"pk": self.run.pk},
            "propagation_run_state": {"pk": self.run.pk},
            "propagation_stopped": {"pk": self.stopped.pk},
            "propagation_stopped_keys": {"pk": self.stopped.pk},
            "host_restart": {"pk": self.stopped_host.pk},
            "propagation_newer": {"pk": self.newer.pk},
            "staff_keys_decide": {"pk": self.asked.pk},
            "invitation": {"token": "no-such-token"},
            "account_confirm_email": {"key": "no-such-key"},
            "mfa_edit_webauthn": {"pk": 1},
            "mfa_remove_webauthn": {"pk": 1},
            "account_reset_password_from_key": {"uidb36": "1", "key": "no-such-key"},
        }
        if name == "host" or (name.startswith("host_") and name not in own):
            return {"pk": self.new_host.pk}
        if name == "download_fetch":
            return {"slug": slug, "number": _lying(self.districts[state].sftp_account)}
        if name.startswith("trial"):
            return {"slug": slug, "pk": self.trials[state].pk}
        if name.startswith("found_"):
            return {"slug": slug, "pk": self.found[state].pk}
        if name.startswith("key_lost_"):
            return {"slug": slug, "pk": self.lost[state].pk}
        if name.startswith("key_"):
            return {"slug": slug, "pk": self.keys[state].pk}
        return own.get(name, {"slug": slug, "pk": epoch})


def make_scene() -> Scene:
    """Rows for a `Scene`."""
    schedules_sync()
    districts = {state: DistrictFactory(name=f"Cedar {state}") for state in STATES}
    theirs = DistrictFactory(name="Elm")
    people = {name: StaffFactory(staff_role=role) for name, role in STAFF.items()}
    people |= {name: PersonFactory() for name in (ADMINISTRATOR, VIEWER, STRANGER)}
    MembershipFactory(user=people[STRANGER], district=theirs)
    for state, district in districts.items():
        MembershipFactory(user=people[ADMINISTRATOR], district=district)
        MembershipFactory(user=people[VIEWER], district=district, role=Role.DISTRICT_VIEWER)
        services.district_state_set(district, District.State(state), reason="a test", actor=None)
    message_queue("test", "somebody@district.example", "A subject", "A text", about="1")
    keys = {state: row_add(district.sftp_account, "ecdsa521") for state, district in districts.items()}
    # With a second key the first can be removed without a word.
    row_add(districts["active"].sftp_account, "rsa2048")
    run = PropagationRun.objects.create(cause=PropagationRun.Cause.NOW, state=PropagationRun.State.DONE)
    return Scene(
        districts,
        {state: _epoch(district) for state, district in districts.items()},
        {state: _held(district) for state, district in districts.items()},
        {state: _trial(district) for state, district in districts.items()},
        _trial(theirs),
        theirs,
        _epoch(theirs),
        keys,
        row_add(theirs.sftp_account, THEIR_KEY),
        {state: _lost(district) for state, district in districts.items()},
        {state: _found(district) for state, district in districts.items()},
        _found(theirs),
        _asked(districts["active"]),
        _newer(theirs),
        _stopped(run),
        _new_host(),
        _stopped_host(),
        LimitRaise.objects.create(district=districts["active"], what="removed", percent=30, **LATER),
        BlackoutDays.objects.create(district=districts["active"], **LATER_STILL),
        {
            state: PinnedProvider.objects.create(district=district, issuer=ISSUER, domain="x.example")
            for state, district in districts.items()
        },
        people,
        run,
        _reset(),
        OutboxMessage.objects.get(kind="test"),
        DistrictImport.objects.create(text="", total=3, done=2, problems=["Line 3, oak.us: It is taken."]),
    )


def _lying(account: SftpAccount) -> str:
    """The number of a file in the account's /downloads/, put there for the test that runs: each has its own host."""
    settings.SFTP_ROOT.mkdir(parents=True, exist_ok=True)
    place, files = downloads(account.username).child("backups"), files_for(account.host)
    files.make_directory(place)
    files.write(place.child("data.dump"), b"a backup")
    return number_of(account, ("backups", "data.dump"))


def _reset() -> SecondFactorReset:
    """Somebody's lost second factor that waits for a second person; another has lost theirs, and nobody has asked."""
    for email in ("lost@district.example", "asked@district.example"):
        person = PersonFactory(email=email)
        TOTP.activate(person, "JBSWY3DPEHPK3PXP")
    return SecondFactorReset.objects.create(person=person, reason="Called back.")


def row_add(account: SftpAccount, name: str) -> AccountKey:
    """The row of a key of the samples, at the end of an account's set, as a save would make it."""
    key = parse_paste(text(name)).keys[0]
    facts = {"algorithm": key.algorithm, "blob": key.blob_base64, "comment": key.comment}
    position = account.keys.count()
    return AccountKey.objects.create(account=account, position=position, fingerprint=key.fingerprint, **facts)


def _lost(district: District) -> LostKey:
    """A key of a lost computer that the host has confirmed to be gone."""
    account = district.sftp_account
    made = KeySet.objects.create(account=account, version=100, cause=KeySet.Cause.LOST, on_host=timezone.now())
    print_of = f"SHA256:lost-of-{district.slug}"
    return LostKey.objects.create(account=account, fingerprint=print_of, label="ED25519", key_set=made)


def _found(district: District) -> FoundLine:
    """A line that stood in the account's file on its host and is not ours; its key may be adopted."""
    account, key = district.sftp_account, parse_paste(text("ed25519")).keys[0]
    line = text("ed25519").strip()
    facts = {"line": line, "line_digest": "0" * 64, "fingerprint": key.fingerprint, "label": key.label}
    return FoundLine.objects.create(host=account.host, account=account, username=account.username, **facts)


def _stopped(run: PropagationRun) -> HostRun:
    """A run's part that stopped, since keys would go that nobody asked to remove."""
    now, host = timezone.now(), Host.objects.get()
    facts = {"started": now, "finished": now, "unasked": 30, "unasked_digest": "0" * 64}
    return HostRun.objects.create(run=run, host=host, state=HostRun.State.STOPPED, **facts)


def _new_host() -> Host:
    """A host that has shown its key, and is not there any more when it is tried."""
    host = host_add("upload-2", "127.0.0.1", 1, by=PORTAL)
    host.offered_key, host.offered_at = OFFERED_KEY, timezone.now()
    host.save()
    return host


def _stopped_host() -> Host:
    """A host that has shown another key than the confirmed one."""
    host = host_add("upload-3", "127.0.0.1", 1, by=PORTAL)
    host.host_key, host.fingerprint = OTHER_KEY, fingerprint(OTHER_KEY)
    host.offered_key, host.offered_at = host_key(3), timezone.now()
    host.state, host.reason = Host.State.STOPPED, "It showed another host key."
    host.save()
    return host


def host_key(number: int) -> str:
    """The line of an invented ED25519 host key."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes([number]) * 32
    return f"ssh-ed25519 {b64encode(blob).decode()}"


OFFERED_KEY, OTHER_KEY = host_key(1), host_key(2)


def _asked(district: District) -> SharedKeyRequest:
    key = parse_paste(text(THEIR_KEY)).keys[0]
    facts = {"fingerprint": key.fingerprint, "label": key.label, "comment": key.comment}
    return SharedKeyRequest.objects.create(account=district.sftp_account, **facts)


def _newer(district: District) -> KeyFile:
    """A key file whose host has a set that the database does not know."""
    file = district.sftp_account.key_file
    file.found = {"version": 7, "token": "0123456789abcdef", "fingerprints": ["SHA256:known-to-the-host-only"]}
    file.save()
    return file


def _held(district: District) -> Epoch:
    """A night that the guard holds."""
    epoch = EpochFactory(district=district, state=Epoch.State.HELD, step="compare", is_ok=True)
    reasons = [{"code": "too-many-removed", "weight": "hold", "message": "Too many.", "table": "students"}]
    dataset = Dataset.objects.create(district=district, format="a-format", table="students", active=1)
    Record.objects.create(
        dataset=dataset, key="s-1", digest=b"0" * 16, data={"Id": "s-1"}, first_epoch=epoch, last_epoch=epoch
    )
    cause = {"cause": "cut-off", "message": "It ends too early.", "hint": "Send it again."}
    Judgement.objects.create(
        epoch=epoch, state="held", message="Held, nothing was applied.", reasons=reasons, cause=cause
    )
    return epoch


# What `gzip` makes of a list of findings.
LIST = gzip.compress(b"severity,file,line,column,code,message,hint,value\r\n")


def _epoch(district: District) -> Epoch:
    made = EpochFactory(
        district=district,
        state=Epoch.State.WAITING_STAFF,
        errors=2,
        log="FAILED: 2 errors\n",
        archive_name="20261101-000000",
    )
    FindingList.objects.create(epoch=made, rows=2, data=LIST)
    return made


def _trial(district: District) -> Trial:
    """Files that were checked before sending, and had an error."""
    finding = {"file": "a.csv", "line": 2, "column": "b", "code": "type", "severity": "error", "message": "Wrong."}
    told = {"findings": [{**finding, "hint": "Mend it.", "value": "X-9"}], "errors": 1, "message": "The files are."}
    told["counts"] = [{"name": "a.csv", "rows": 3, "blank": 0, "errors": 1, "warnings": 0}]
    told["files"] = [{"name": "a.csv", "size": 100}]
    done = {"state": Trial.State.DONE, "outcome": Trial.Outcome.ERRORS, "finished": timezone.now()}
    made = Trial.objects.create(district=district, place=f"gone-{district.slug}"[:32], **told, **done)
    FindingList.objects.create(trial=made, rows=1, data=LIST)
    return made
