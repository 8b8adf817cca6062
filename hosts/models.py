"""SFTP hosts, and what their connection logs tell."""

from django.db import models
from django.utils import timezone


class HostManager(models.Manager["Host"]):
    """The hosts there are; those that were removed are known to history only (`Host.every`)."""

    def get_queryset(self) -> models.QuerySet["Host"]:
        return super().get_queryset().filter(removed=None)


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
    takes_new = models.BooleanField(default=False, help_text="New districts go here, if nobody says otherwise.")
    fingerprint = models.CharField(max_length=60, blank=True, help_text="SHA-256 fingerprint of the host key.")
    # Host keys are lines `type base64`. The one districts may trust, and the last that was shown instead of it.
    host_key = models.TextField(blank=True)
    # --- Of an OpenSSH host only
    username = models.CharField(max_length=32, default="sftp-portal", help_text="The portal's own account there.")
    offered_key = models.TextField(blank=True)
    offered_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.READY)
    reason = models.CharField(max_length=400, blank=True, help_text="Why it is stopped, or why the last try failed.")
    client_key_sealed = models.TextField(blank=True, editable=False)
    client_key_public = models.TextField(blank=True)
    client_key_made = models.DateTimeField(null=True, blank=True, editable=False)
    last_ok = models.DateTimeField(null=True, blank=True, help_text="When it last answered.")
    tries = models.PositiveIntegerField(default=0, help_text="Failed tries since then.")
    next_try = models.DateTimeField(null=True, blank=True)
    accounts_digest = models.CharField(max_length=64, blank=True, help_text="Of the accounts it was last told.")
    # How far its connection log has been read: which file, told by its first line, and the bytes of it.
    log_file = models.CharField(max_length=64, blank=True, editable=False)
    log_offset = models.BigIntegerField(default=0)
    # What the machine told of itself when it was last asked (`hosts.condition`).
    asked = models.DateTimeField(null=True, blank=True, editable=False)
    free_bytes = models.BigIntegerField(null=True, blank=True, editable=False)
    accounts_there = models.PositiveIntegerField(null=True, blank=True, editable=False)
    system = models.CharField(max_length=200, blank=True, editable=False)
    openssh = models.CharField(max_length=200, blank=True, editable=False)
    helper = models.CharField(max_length=200, blank=True, editable=False)
    keys_group = models.BigIntegerField(null=True, blank=True, editable=False, help_text="Which reads key files there.")
    # Sign-ins and runs of the past still name it.
    removed = models.DateTimeField(null=True, blank=True, editable=False)

    objects = HostManager()
    every = models.Manager["Host"]()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["takes_new"], condition=models.Q(takes_new=True), name="hosts_one_takes_new_districts"
            )
        ]

    def __str__(self) -> str:
        return self.name


class UploadsSeen(models.Model):
    """How far the looks at one OpenSSH host's uploads have got; whoever holds its lease is the only one to look."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="uploads_seen")
    # How far what it tells of changes has been acted upon: which file, told by its first line, and the bytes of it.
    changes_file = models.CharField(max_length=64, blank=True)
    changes_offset = models.BigIntegerField(default=0)
    looked = models.DateTimeField(null=True, blank=True, help_text="The accounts whose turn came before then had it.")
    owed = models.JSONField(default=list, help_text="Accounts that are to be looked at as soon as that is possible.")
    tries = models.PositiveIntegerField(default=0, help_text="Failed looks since the last good one.")
    next_try = models.DateTimeField(null=True, blank=True)
    lease_token = models.CharField(max_length=32, blank=True, default="", editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return f"what was seen of {self.host}"


class AccountsTold(models.Model):
    """What one OpenSSH host said to its list of accounts; whoever holds its lease is the only one to tell it."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="accounts_told")
    # How many it has since then, as far as it knows.
    count = models.PositiveIntegerField(null=True, blank=True)
    # Those it would not make: name, code, message of each.
    refused = models.JSONField(default=list)
    # The last list that it would not have as a whole, why, and until when that is taken for granted (none: for good).
    declined_digest = models.CharField(max_length=64, blank=True, default="")
    declined_code = models.CharField(max_length=60, blank=True, default="")
    declined_reason = models.CharField(max_length=400, blank=True, default="")
    declined_since = models.DateTimeField(null=True, blank=True)
    declined_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.CharField(max_length=32, blank=True, default="", editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return f"what {self.host} was told of accounts"


class DamagedHome(models.Model):
    """An account's home on an OpenSSH host that is not as it should be, and that its helper could not mend."""

    UPLOAD_BLOCKED = "upload-blocked"

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="damaged_homes")
    username = models.CharField(max_length=253)
    code = models.CharField(max_length=60)
    reason = models.CharField(max_length=400)
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["username"]
        constraints = [models.UniqueConstraint(fields=["host", "username"], name="hosts_one_damaged_home_an_account")]

    def __str__(self) -> str:
        return f"the damaged home of {self.username} on {self.host}"

    @property
    def blocks_uploads(self) -> bool:
        """Whether nothing can be uploaded into it."""
        return self.code == self.UPLOAD_BLOCKED


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
    tried = models.CharField(max_length=20, blank=True, help_text="What was wanted instead of SFTP.")
    # Of a refused one: the fingerprints of all keys it offered, and those that the host knew whole, `type base64`.
    offered = models.JSONField(default=list, blank=True)
    offered_keys = models.JSONField(default=list, blank=True)
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
