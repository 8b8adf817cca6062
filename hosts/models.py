"""SFTP hosts, and what their connection logs tell."""

from django.db import models
from django.utils import timezone


class Host(models.Model):
    """A machine that serves SFTP to districts."""

    class Kind(models.TextChoices):
        EMBEDDED = "embedded", "Embedded, on the portal's own machine"

    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.EMBEDDED)
    address = models.CharField(max_length=253, help_text="The name districts connect to.")
    port = models.PositiveIntegerField(default=22)
    fingerprint = models.CharField(max_length=60, blank=True, help_text="SHA-256 fingerprint of the host key.")
    # How far its connection log has been read: the file's inode and the bytes of it.
    log_inode = models.BigIntegerField(default=0)
    log_offset = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


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

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["username", "accepted", "fingerprint"])]


class SessionEnd(models.Model):
    """A session that the host ended, because its key would no longer be let in. `reason` is a `signin.Ending`."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="session_ends")
    username = models.CharField(max_length=253)
    at = models.DateTimeField()
    fingerprint = models.CharField(max_length=60)
    address = models.CharField(max_length=60)
    reason = models.CharField(max_length=40)

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["username", "fingerprint", "at"])]
