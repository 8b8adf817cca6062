"""Public keys as values, the file that must stand on the host, who changed it, and what each propagation run did."""

from datetime import date, timedelta

from django.db import models
from django.utils import timezone

from accounts.leases import Leased
from accounts.models import SftpAccount, User
from hosts.models import Host

from .core.drift import key_in
from .core.errors import KeyProblem
from .core.publickey import PublicKey
from .core.wire import decoded
from .stamps import token_make

# The mark of a key that another account has too or has lost: only staff take it away.
HELD_BACK = "key-elsewhere"


class AccountKey(models.Model):
    """One public key of an account: algorithm, blob and our own clean comment. The pasted text is never stored."""

    account = models.ForeignKey(SftpAccount, on_delete=models.CASCADE, related_name="keys")
    position = models.PositiveSmallIntegerField()
    algorithm = models.CharField(max_length=64)
    blob = models.TextField(help_text="RFC 4253 section 6.6 public key blob, base64.")
    comment = models.CharField(max_length=255, blank=True)
    fingerprint = models.CharField(max_length=60)
    added_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    added = models.DateTimeField(default=timezone.now)
    # Restrictions, written into the line so that the host keeps them by itself.
    expires_on = models.DateField(null=True, blank=True, help_text="Last day, in the district's time zone.")
    networks = models.JSONField(default=list, blank=True, help_text="Source networks, canonical; none: from anywhere.")
    reminded = models.PositiveSmallIntegerField(null=True, help_text="Days before the end of the last reminder.")
    # Rotation: the new key names the old one, and how long that stays after the new one's first good sign-in. The day
    # stands with the new key, so that it is gone with it.
    replaces = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="replaced_by")
    retire_after = models.PositiveSmallIntegerField(null=True, help_text="Days.")
    retires_old = models.DateTimeField(null=True, blank=True, help_text="When the old key goes.")
    # Judged anew every night: marked with the reason first, disabled on the day told, never deleted for it.
    judged = models.DateTimeField(null=True, help_text="When the last nightly look was at it.")
    marked = models.DateTimeField(null=True, blank=True)
    mark_code = models.CharField(max_length=60, blank=True)
    mark_reason = models.CharField(max_length=400, blank=True)
    disable_on = models.DateField(null=True, blank=True)
    disabled = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["account", "fingerprint"], name="one_row_per_account_and_key")]
        indexes = [models.Index(fields=["fingerprint"])]

    def __str__(self) -> str:
        return f"{self.comment or 'key'} {self.fingerprint}"

    def value(self) -> PublicKey:
        """The key as a value; raises KeyProblem if the stored row is no longer a valid key."""
        return PublicKey.from_blob(decoded(self.blob), self.comment)

    @property
    def label(self) -> str:
        """The type in words, the bare type word if the stored row is no longer a valid key."""
        try:
            return self.value().label
        except KeyProblem:
            return self.algorithm

    def line(self) -> str:
        """The line as it was when the key was taken, without restrictions; also for a key no longer valid."""
        return f"{self.algorithm} {self.blob} {self.comment}".rstrip()

    @property
    def last_day(self) -> date | None:
        """The day after which it cannot sign in any more, as it stands now: its own end, or that of what was found."""
        found = self.disable_on - timedelta(days=1) if self.disable_on else None
        return min((day for day in (self.expires_on, found) if day), default=None)

    def is_usable(self, today: date) -> bool:
        """Whether it can sign in on that day (the district's), as far as we know."""
        return self.disabled is None and (self.expires_on is None or self.expires_on >= today)


class KeyFile(Leased):
    """The authorized_keys file an account should have on its host, and how far it has got there.

    `version` counts what the account's file should say; `host_version` is the version last read back from the host.
    The row is the queue: *waiting* and due *failed* rows are taken by whoever comes first.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        ON_HOST = "on_host", "On the host"
        FAILED = "failed", "Failed"

    account = models.OneToOneField(SftpAccount, on_delete=models.CASCADE, related_name="key_file")
    networks = models.JSONField(default=list, blank=True, help_text="Source networks for every key of the account.")
    version = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    wanted = models.DateTimeField(default=timezone.now)
    # A set on the host that this database does not know: {"version", "token", "fingerprints"}; see KeySet.
    found = models.JSONField(null=True, blank=True)
    # The tokens of such sets that staff have decided to overwrite, the last ones first, with blanks between: under the
    # name of today one may stand, and another under the one before.
    forgiven_tokens = models.CharField(max_length=300, blank=True)
    host_version = models.PositiveIntegerField(default=0)
    # Whether the host, one of its own, has said that it has the account: line and home.
    has_home = models.BooleanField(default=False)
    on_host_since = models.DateTimeField(null=True, blank=True)
    # The host may be another machine than the one it was last read from: nothing is known of it until it is read again.
    is_doubted = models.BooleanField(default=False, editable=False)
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of what was last read back.")
    # Noted before it is written, so that whoever comes after a worker that died knows either for ours.
    next_digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256 of what is just left of it, while some keys are taken out."
    )
    # What a listing tells of that file: as long as it says the same, nobody has touched it.
    host_size = models.PositiveIntegerField(null=True, blank=True)
    host_modified = models.BigIntegerField(null=True, blank=True, help_text="Seconds since the epoch.")
    read_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try = models.DateTimeField(null=True, blank=True)
    code = models.CharField(max_length=60, blank=True)
    reason = models.CharField(max_length=400, blank=True)

    class Meta:
        indexes = [models.Index(fields=["state", "next_try"])]


class KeySet(models.Model):
    """One version of what an account's file should say: who made it so, from where, why, and what changed.

    The file on the host carries version and token. A host that has a set this table does not know is newer than the
    database: somebody restored an old one, and removed keys must not come back unseen.
    """

    class Cause(models.TextChoices):
        SAVED = "saved", "Keys saved"
        RESTRICTED = "restricted", "Key or its restrictions changed"
        NETWORKS = "networks", "Networks of the account changed"
        REPLACING = "replacing", "Replacement of a key begun"
        RETIRED = "retired", "Replaced key retired"
        REMOVED = "removed", "Key removed"
        LOST = "lost", "Key of a lost computer removed"
        DISABLED = "disabled", "Unsafe key disabled"
        ENABLED = "enabled", "Key works again"
        ACCOUNT = "account", "The account changed"
        SETTLED = "settled", "Older set kept after a restore"

    account = models.ForeignKey(SftpAccount, on_delete=models.CASCADE, related_name="key_sets")
    version = models.PositiveIntegerField()
    token = models.CharField(max_length=32, default=token_make, editable=False)
    at = models.DateTimeField(default=timezone.now)
    cause = models.CharField(max_length=12, choices=Cause)
    # The district was suspended or closed: with this set no key lets anybody in, whichever keys it has.
    is_shut = models.BooleanField(default=False)
    actor = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    address = models.CharField(max_length=60, blank=True)
    reason = models.CharField(max_length=400, blank=True)
    # Each a list of {"fingerprint", "label", "comment"}: public facts only.
    added = models.JSONField(default=list)
    removed = models.JSONField(default=list)
    changed = models.JSONField(default=list)
    on_host = models.DateTimeField(null=True, blank=True)
    run = models.ForeignKey("PropagationRun", null=True, on_delete=models.SET_NULL, related_name="key_sets")

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["account", "version"], name="one_set_per_account_and_version")]
        indexes = [models.Index(fields=["token"])]

    @property
    def is_by_people(self) -> bool:
        """Whether it tells of keys, as opposed to the account's name or state."""
        return self.cause != self.Cause.ACCOUNT

    def brings(self, fingerprint: str) -> bool:
        """Whether with this set the key came to the host, alone or with all others of the account."""
        if self.cause == self.Cause.ACCOUNT:
            return True
        facts = self.added + (self.changed if self.cause == self.Cause.ENABLED else [])
        return any(fact["fingerprint"] == fingerprint for fact in facts)

    def disables(self, fingerprint: str) -> bool:
        """Whether with this set the key went off the host, to stay here switched off."""
        is_meant = self.cause == self.Cause.DISABLED
        return is_meant and any(fact["fingerprint"] == fingerprint for fact in self.changed)


class LostKey(models.Model):
    """A key whose private half somebody else may have. Kept for ever: it is never taken again."""

    account = models.ForeignKey(SftpAccount, on_delete=models.CASCADE, related_name="lost_keys")
    fingerprint = models.CharField(max_length=60, db_index=True)
    label = models.CharField(max_length=40)
    comment = models.CharField(max_length=255, blank=True)
    key_set = models.ForeignKey(KeySet, on_delete=models.PROTECT, related_name="lost_keys")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-at"]


class SharedKeyRequest(models.Model):
    """A district pasted a key that another account has (or has reported lost). Staff decide, with a reason."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for staff"
        ALLOWED = "allowed", "Allowed"
        DECLINED = "declined", "Declined"

    account = models.ForeignKey(SftpAccount, on_delete=models.CASCADE, related_name="shared_key_requests")
    fingerprint = models.CharField(max_length=60, db_index=True)
    label = models.CharField(max_length=40)
    comment = models.CharField(max_length=255, blank=True)
    asked_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    asked = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=400, blank=True)

    class Meta:
        ordering = ["-asked"]
        constraints = [
            models.UniqueConstraint(fields=["account", "fingerprint"], name="one_request_per_account_and_key")
        ]


class PropagationRun(Leased):
    """One walk over accounts: what it was for, how many files it looked at, wrote, found right, could not write."""

    class Cause(models.TextChoices):
        HOURLY = "hourly", "Schedule"
        NOW = "now", "“Propagate now”"
        SAVED = "saved", "A saved change"
        SWEEP = "sweep", "Sweep for left-over work"
        COMMAND = "command", "Command line"
        START = "start", "Start of the portal"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"

    cause = models.CharField(max_length=10, choices=Cause)
    thorough = models.BooleanField(default=False, help_text="Reads every file, whatever the listing says.")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    asked_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    asked = models.DateTimeField(default=timezone.now)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(default=0)
    written = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    held = models.PositiveIntegerField(default=0, help_text="Accounts left alone until somebody decides.")
    drifted = models.PositiveIntegerField(default=0, help_text="Accounts whose file somebody else had changed.")
    removed = models.PositiveIntegerField(default=0, help_text="Keys taken off the host.")

    class Meta:
        ordering = ["-asked", "-pk"]

    @property
    def looked_at(self) -> int:
        """How many accounts this run has dealt with so far."""
        return self.written + self.unchanged + self.failed + self.held


class HostRun(Leased):
    """One run's part on one host. Hosts go side by side, and a host that is away ends only its own part.

    `stopped`: the run would have removed more keys that nobody asked to remove than is usual. `unasked` counts them,
    `unasked_digest` tells this removal from any other, so that leave for it is leave for nothing else. It is *stopped*
    even if the host was lost after that; then `code` says how, and is none of `ODD`.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped, needs a decision"
        FAILED = "failed", "Failed"

    ENDED = (State.DONE, State.STOPPED, State.FAILED)
    # What else a part that came to its end tells of: things among the key files that staff should look at.
    ODD = ("stranger-not-readable", "leftover-stays", "no-key-file")

    run = models.ForeignKey(PropagationRun, on_delete=models.CASCADE, related_name="hosts")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="runs")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(default=0)
    written = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    held = models.PositiveIntegerField(default=0)
    drifted = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    code = models.CharField(max_length=60, blank=True)
    reason = models.CharField(max_length=400, blank=True)
    unasked = models.PositiveIntegerField(default=0)
    unasked_digest = models.CharField(max_length=64, blank=True, db_index=True)
    allowed = models.DateTimeField(null=True, blank=True)
    allowed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    allowed_reason = models.CharField(max_length=400, blank=True)

    class Meta:
        ordering = ["host__name", "pk"]
        constraints = [models.UniqueConstraint(fields=["run", "host"], name="one_part_per_run_and_host")]


class FoundLine(models.Model):
    """A line that stood in a key file on a host and was not ours: taken off, and kept here with when and what.

    Only the district can say that a key found there is its own. `account` is None for a file of no account of ours.
    """

    class State(models.TextChoices):
        KEPT = "kept", "Taken off the host"
        ADOPTED = "adopted", "Added by the district"
        DISMISSED = "dismissed", "Not the district's"

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="found_lines")
    account = models.ForeignKey(SftpAccount, null=True, on_delete=models.CASCADE, related_name="found_lines")
    username = models.CharField(max_length=253, help_text="Name of the file it stood in.")
    found = models.DateTimeField(default=timezone.now)
    line = models.TextField()
    line_digest = models.CharField(max_length=64)
    fingerprint = models.CharField(max_length=60, blank=True)
    label = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.KEPT)
    decided = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-found", "-pk"]
        constraints = [
            # A crash between keeping and writing finds the same line again: it is one finding.
            models.UniqueConstraint(
                fields=["host", "username", "line_digest"],
                condition=models.Q(state="kept"),
                name="one_open_finding_per_line",
            )
        ]

    def key_line(self) -> str:
        """The key in the line as `type base64`; empty if there is none, or not the one whose fingerprint was told."""
        key = key_in(self.line.encode("utf-8"))
        return f"{key.algorithm} {key.blob_base64}" if key and key.fingerprint == self.fingerprint else ""

    @property
    def has_options(self) -> bool:
        """Whether something stands before the key in the line, such as from where it worked."""
        key = self.key_line()
        return bool(key) and not self.line.lstrip().startswith(key.split(" ")[0])


class PropagationFailure(models.Model):
    """An account whose file a run could not write, and why."""

    run = models.ForeignKey(PropagationRun, on_delete=models.CASCADE, related_name="failures")
    account = models.ForeignKey(SftpAccount, on_delete=models.CASCADE, related_name="+")
    code = models.CharField(max_length=60)
    reason = models.CharField(max_length=400)
