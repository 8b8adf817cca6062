"""Districts, people, their roles, SFTP accounts; the audit log and the outbox."""

import secrets
import zoneinfo
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.functional import cached_property

from hosts.models import Host

from .core.chain import FIRST
from .core.mailing import How
from .core.roles import DISTRICT_ROLES, STAFF_ROLES, Right, Role, Tool, may
from .leases import Leased


class People(BaseUserManager["User"]):
    """Makes people; the e-mail address is the name they sign in with."""

    def create_user(self, email: str, password: str | None = None, *, name: str = "", **fields: object) -> "User":
        """A saved person with a hashed password (or none that works). Their name is one line: it stands in mails."""
        person = self.model(email=email.strip().lower(), name=" ".join(name.split()), **fields)
        person.set_password(password)
        person.save(using=self._db)
        return person


def _zone_exists(name: str) -> None:
    if name and name not in zoneinfo.available_timezones():
        raise ValidationError(f"“{name}” is not a time zone. Choose one such as America/New_York.")


class User(AbstractBaseUser):
    """A person who signs in by e-mail: one of a district's, or one of the vendor's staff."""

    email = models.EmailField(unique=True, error_messages={"unique": "Someone already signs in with this address."})
    name = models.CharField(max_length=150)
    staff_role = models.CharField(max_length=40, blank=True, choices=[(role, role) for role in STAFF_ROLES])
    time_zone = models.CharField(max_length=64, blank=True, validators=[_zone_exists])
    is_active = models.BooleanField(default=True)
    created = models.DateTimeField(default=timezone.now, editable=False)

    objects = People()
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["name"]

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.name or self.email

    @cached_property
    def own_memberships(self) -> list["Membership"]:
        """What they are where, found once a request: their time zone and their second factor both ask."""
        return list(self.memberships.select_related("district").order_by("pk"))

    def has_tool(self, tool: Tool, right: Right = Right.READ) -> bool:
        """Whether this person's staff role gives `right` on `tool` (in every district)."""
        return bool(self.staff_role) and may(Role(self.staff_role), tool, right)


class District(models.Model):
    """A school district: the customer. Its domain is its SFTP user name, its slug its place in page addresses."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended"
        CLOSED = "closed", "Closed"

    name = models.CharField(max_length=150)
    slug = models.SlugField(max_length=31, unique=True, editable=False)
    domain = models.CharField(max_length=253, unique=True)
    state = models.CharField(max_length=12, choices=State, default=State.ACTIVE)
    time_zone = models.CharField(max_length=64, default="America/New_York", validators=[_zone_exists])
    asks_second_factor = models.BooleanField(default=False)
    created = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person's role in one district; a person may have several districts."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=40, choices=[(role, role) for role in DISTRICT_ROLES])
    since = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "district"], name="one_role_per_person_and_district")]


class SftpAccount(models.Model):
    """The one SFTP account of a district. Its user name is the district's domain."""

    district = models.OneToOneField(District, on_delete=models.PROTECT, related_name="sftp_account")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="accounts")
    username = models.CharField(max_length=253, unique=True)

    class Meta:
        ordering = ["username"]

    def __str__(self) -> str:
        return self.username


class RetiredUsername(models.Model):
    """A user name an account had before. Until `cleared`, the host may still know it, and nobody else may have it."""

    account = models.ForeignKey(SftpAccount, on_delete=models.PROTECT, related_name="retired_usernames")
    username = models.CharField(max_length=253, db_index=True)
    retired = models.DateTimeField(default=timezone.now)
    cleared = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]


def _invitation_token() -> str:
    return secrets.token_urlsafe(32)


class Invitation(models.Model):
    """A letter that lets its reader make a sign-in for one district, once, until it expires."""

    email = models.EmailField()
    name = models.CharField(max_length=150, blank=True)
    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=40, choices=[(role, role) for role in DISTRICT_ROLES])
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created = models.DateTimeField(default=timezone.now, editable=False)
    expires = models.DateTimeField()
    accepted = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]


class AppendOnlyError(Exception):
    """Somebody tried to change or delete an audit entry."""


class AuditEntry(models.Model):
    """One thing somebody did. Never changed, never deleted; each entry's digest covers the one before.

    Names are copied as text so that an entry outlives what it speaks of. Details hold no student data, no keys'
    private parts and no passwords. The database itself refuses UPDATE and DELETE too (see the migrations).
    """

    number = models.PositiveBigIntegerField(unique=True)
    at = models.DateTimeField()
    action = models.CharField(max_length=60, db_index=True)
    actor = models.CharField(max_length=254)
    district = models.CharField(max_length=31, blank=True, db_index=True)
    subject = models.CharField(max_length=254, blank=True)
    details = models.JSONField(default=dict)
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ["-number"]

    def save(self, *args: object, **kwargs: object) -> None:
        """Adds the entry; raises AppendOnlyError if it already exists."""
        if self.pk is not None:
            raise AppendOnlyError("Audit entries cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: object, **kwargs: object) -> tuple[int, dict[str, int]]:
        """Raises AppendOnlyError, always."""
        raise AppendOnlyError("Audit entries cannot be deleted.")


class AuditHead(models.Model):
    """The end of the audit chain: one row, locked while an entry is added so that numbers have no gaps.

    Up to `proved_number` the whole log was read through at `proved_at`, and was sound; the page begins there.
    """

    number = models.PositiveBigIntegerField(default=0)
    digest = models.CharField(max_length=64)
    proved_number = models.PositiveBigIntegerField(default=0)
    proved_digest = models.CharField(max_length=64, default=FIRST)
    proved_at = models.DateTimeField(null=True)


def _reset_ends() -> datetime:
    return timezone.now() + timedelta(days=1)


class SecondFactorReset(models.Model):
    """Somebody has lost their second factor: one of staff asks to take it off, another one decides, within a day."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DONE = "done", "Taken off"
        DECLINED = "declined", "Declined"

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300)
    asked_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    asked = models.DateTimeField(default=timezone.now)
    ends = models.DateTimeField(default=_reset_ends)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided = models.DateTimeField(null=True)

    @property
    def is_over(self) -> bool:
        """Nobody has decided in time."""
        return self.state == self.State.WAITING and self.ends <= timezone.now()


class WrongTries(models.Model):
    """How often somebody at one address got one account's password or code wrong lately; a digest of the pair."""

    pair = models.CharField(max_length=64, unique=True)
    count = models.PositiveIntegerField(default=0)
    last = models.DateTimeField(db_index=True)


class DistrictImport(Leased):
    """A long list of districts to open, one after the other. The row is the queue: `done` rows are dealt with."""

    text = models.TextField(help_text="The file; forgotten when all of it is done.")
    asked_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    asked = models.DateTimeField(default=timezone.now)
    finished = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    problems = models.JSONField(default=list, help_text="Sentences, each about a line that was passed over.")

    class Meta:
        ordering = ["-asked", "-pk"]

    @property
    def opened(self) -> int:
        """How many districts were opened so far."""
        return self.done - len(self.problems)


class MailChoice(models.Model):
    """How somebody wants the mails of one group (`core.mailing`); without a row each comes at once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="mail_choices")
    group = models.CharField(max_length=20)
    how = models.CharField(max_length=10, choices=[(how.value, how.value) for how in How])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "group"], name="one_choice_per_person_and_group")]


class PinnedProvider(models.Model):
    """A district believes a sign-in provider about the addresses of a domain: its people are known by them."""

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="pinned_providers")
    issuer = models.CharField(max_length=200)
    domain = models.CharField(max_length=253)
    since = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["domain", "issuer"]
        constraints = [models.UniqueConstraint(fields=["district", "issuer", "domain"], name="one_pin_each")]


class UsedCode(models.Model):
    """A code of the second factor that was taken; a digest of it and whose it is. Here, so that all processes know."""

    digest = models.CharField(max_length=64, unique=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)


class OutboxMessage(Leased):
    """One mail to one person. Every notice goes through here; without a mail server it stays here to be read."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        KEPT = "kept", "Kept here"
        GATHERED = "gathered", "For the morning"

    key = models.CharField(max_length=200, unique=True, help_text="The same notice to the same person is sent once.")
    kind = models.CharField(max_length=60)
    to = models.EmailField()
    district = models.ForeignKey(District, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    subject = models.CharField(max_length=200)
    text = models.TextField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    created = models.DateTimeField(default=timezone.now, editable=False)
    sent = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-created", "-pk"]
        indexes = [
            models.Index(fields=["state", "next_try"]),
            models.Index(fields=["-created", "-id"]),
            models.Index(Lower("to"), name="outbox_to"),
        ]
