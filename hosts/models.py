"""SFTP hosts, and what their connection logs tell."""

from django.db import models
from django.utils import timezone


class Host(models.Model):
    """A machine that serves SFTP to districts."""

    class Kind(models.TextChoices):
        EMBEDDED = "embedded", "Embedded, on the portal's own machine"
        OPENSSH = "openssh", "OpenSSH, on a machine of its own"

    class State(models.TextChoices):
        """An OpenSSH host without a confirmed key is never spoken to, whatever its state."""

        NEW = "new", "New, its host key is not confirmed"
        READY = "ready", "Ready"
        STOPPED = "stopped", "Stopped, until somebody has looked"

    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.EMBEDDED)
    address = models.CharField(max_length=253, help_text="The name districts connect to.")
    port = models.PositiveIntegerField(default=22)
    fingerprint = models.CharField(max_length=60, blank=True, help_text="SHA-256 fingerprint of the host key.")
    # --- Of an OpenSSH host only
    username = models.CharField(max_length=32, default="sftp-portal", help_text="The portal's own account there.")
    # Host keys are lines `type base64`. The confirmed one, and the last that was shown instead of it.
    host_key = models.TextField(blank=True)
    offered_key = models.TextField(blank=True)
    offered_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.READY)
    reason = models.CharField(max_length=400, blank=True, help_text="Why it is stopped, or why the last try failed.")
    client_key_sealed = models.TextField(blank=True, editable=False)
    client_key_public = models.TextField(blank=True)
    last_ok = models.DateTimeField(null=True, blank=True, help_text="When it last answered.")
    tries = models.PositiveIntegerField(default=0, help_text="Failed tries since then.")
    next_try = models.DateTimeField(null=True, blank=True)
    accounts_digest = models.CharField(max_length=64, blank=True, help_text="Of the accounts it was last told.")
    # How far its connection log has been read: which file, told by its first line, and the bytes of it.
    log_file = models.CharField(max_length=64, blank=True, editable=False)
    log_offset = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


def _once(name: str) -> models.UniqueConstraint:
    """No event of a host is kept twice; the embedded host needs no marks for that, and writes none."""
    is_marked = ~models.Q(mark="")
    return models.UniqueConstraint(fields=["host", "mark"], condition=is_marked, name=f"hosts_{name}_once")


class SignIn(models.Model):
    """One attempt to sign in at a host, good or refused, as its connection log told it."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="sign_ins")
    username = models.CharField(max_length=253, db_index=True)
    at = models.DateTimeField(db_index=True)
    accepted = models.BooleanField()
    fingerprint = models.CharField(max_length=60, blank=True)
    address = models.CharField(max_length=60)
    client = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    seen = models.DateTimeField(default=timezone.now, editable=False)
    mark = models.CharField(max_length=64, blank=True, editable=False, help_text="The host's name for this event.")

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["username", "accepted", "fingerprint"])]
        constraints = [_once("sign_in")]


class SessionEnd(models.Model):
    """A session that the host ended, because its key would no longer be let in. `reason` is a `signin.Ending`."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="session_ends")
    username = models.CharField(max_length=253)
    at = models.DateTimeField()
    fingerprint = models.CharField(max_length=60)
    address = models.CharField(max_length=60)
    reason = models.CharField(max_length=40)
    mark = models.CharField(max_length=64, blank=True, editable=False, help_text="The host's name for this event.")

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["username", "fingerprint", "at"])]
        constraints = [_once("session_end")]
