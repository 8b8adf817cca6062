"""Public keys as values, the file that must stand on the host, who changed it, and what each propagation run did."""

import secrets
from datetime import date

from django.db import models
from django.utils import timezone

from accounts.leases import Leased
from accounts.models import SftpAccount, User

from .core.errors import KeyProblem
from .core.publickey import PublicKey
from .core.wire import decoded

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
    forgiven_token = models.CharField(max_length=32, blank=True)
    host_version = models.PositiveIntegerField(default=0)
    on_host_since = models.DateTimeField(null=True, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try = models.DateTimeField(null=True, blank=True)
    code = models.CharField(max_length=60, blank=True)
    reason = models.CharField(max_length=400, blank=True)

    class Meta:
        indexes = [models.Index(fields=["state", "next_try"])]


def _token() -> str:
    return secrets.token_hex(8)


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
    token = models.CharField(max_length=16, default=_token, editable=False)
    at = models.DateTimeField(default=timezone.now)
    cause = models.CharField(max_length=12, choices=Cause)
    actor = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    address = models.CharField(max_length=60, blank=True)
    reason = models.CharField(max_length=400, blank=True)
    # Each a list of {"fingerprint", "label", "comment"}: public facts only.
    added = models.JSONField(default=list)
    removed = models.JSONField(default=list)
    changed = models.JSONField(default=list)
    on_host = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["account", "version"], name="one_set_per_account_and_version")]

    @property
    def is_by_people(self) -> bool:
        """Whether it tells of keys, as opposed to the account's name or state."""
        return self.cause != self.Cause.ACCOUNT


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
        START = "start", "Start of the portal"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"

    cause = models.CharField(max_length=10, choices=Cause)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    asked_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    asked = models.DateTimeField(default=timezone.now)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(default=0)
    written = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-asked", "-pk"]

    @property
    def looked_at(self) -> int:
        """How many accounts this run has dealt with so far."""
        return self.written + self.unchanged + self.failed


class PropagationFailure(models.Model):
    """An account whose file a run could not write, and why."""

    run = models.ForeignKey(PropagationRun, on_delete=models.CASCADE, related_name="failures")
    account = models.ForeignKey(SftpAccount, on_delete=models.CASCADE, related_name="+")
    code = models.CharField(max_length=60)
    reason = models.CharField(max_length=400)
