"""Public keys as values, the file that must stand on the host, and what each propagation run did."""

from django.db import models
from django.utils import timezone

from accounts.leases import Leased
from accounts.models import SftpAccount, User

from .core.publickey import PublicKey
from .core.wire import decoded


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

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["account", "fingerprint"], name="one_row_per_account_and_key")]

    def __str__(self) -> str:
        return f"{self.comment or 'key'} {self.fingerprint}"

    def value(self) -> PublicKey:
        """The key as a value; raises KeyProblem if the stored row is no longer a valid key."""
        return PublicKey.from_blob(decoded(self.blob), self.comment)


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
    version = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    wanted = models.DateTimeField(default=timezone.now)
    host_version = models.PositiveIntegerField(default=0)
    on_host_since = models.DateTimeField(null=True, blank=True)
    digest = models.CharField(max_length=64, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try = models.DateTimeField(null=True, blank=True)
    code = models.CharField(max_length=60, blank=True)
    reason = models.CharField(max_length=400, blank=True)

    class Meta:
        indexes = [models.Index(fields=["state", "next_try"])]


class PropagationRun(Leased):
    """One walk over accounts: what it was for, how many files it looked at, wrote, found right, could not write."""

    class Cause(models.TextChoices):
        HOURLY = "hourly", "Schedule"
        NOW = "now", "“Propagate now”"
        SAVED = "saved", "A saved change"
        SWEEP = "sweep", "Sweep for left-over work"

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
