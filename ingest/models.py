"""Uploaded epochs, what was found in them, and the records they became."""

from django.db import models
from django.utils import timezone

from accounts.leases import Leased
from accounts.models import District, SftpAccount, User

from .core.delimiters import COMMA, EVERY
from .core.findings import Finding as Found


class Lane(Leased):
    """One per district: whoever holds its lease is the only one to work on that district's epochs, in name order."""

    district = models.OneToOneField(District, on_delete=models.CASCADE, related_name="lane")
    served = models.DateTimeField(null=True, blank=True, help_text="When its last turn ended.")
    is_large = models.BooleanField(default=False, help_text="What its last turn was about, or the one under way.")
    version = models.PositiveBigIntegerField(default=0, help_text="Moved by whatever changes the district's records.")
    latest = models.ForeignKey(
        "Epoch",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Whose files the records agree with; nobody's after an undo.",
    )

    @classmethod
    def locked(cls, district: District) -> "Lane":
        """The district's row, which whoever decides about its epochs holds to the end of the transaction."""
        cls.objects.get_or_create(district=district)
        return cls.objects.select_for_update().get(district=district)

    @classmethod
    def locked_at_once(cls, district: District) -> "Lane | None":
        """The same; None if somebody has it locked, who may load for minutes: whoever can come again does not wait."""
        cls.objects.get_or_create(district=district)
        return cls.objects.select_for_update(skip_locked=True).filter(district=district).first()


class Epoch(models.Model):
    """One directory a district uploaded. The row is the queue and the history; `step` is the last step finished."""

    class State(models.TextChoices):
        ARRIVING = "arriving", "Arriving"
        WAITING_STAFF = "waiting_staff", "Waiting for staff"
        QUEUED = "queued", "Waiting its turn"
        WORKING = "working", "Being processed"
        STUCK = "stuck", "Stopped by trouble on our side"
        HELD = "held", "Held for a person to look at"
        BEHIND = "behind", "Waits behind another night"
        LOADED = "loaded", "Loaded"
        FAILED = "failed", "Not loaded"
        DISCARDED = "discarded", "Discarded by staff"
        BLACKOUT = "blackout", "Not applied: blackout"
        SUPERSEDED = "superseded", "Not applied: a newer night was"
        UNDONE = "undone", "Loaded, then undone"
        GONE = "gone", "Taken back by the district"

    # In these the directory is still the district's; in the next ones it is ours; in the last ones it is done with.
    OUTSIDE = (State.ARRIVING, State.WAITING_STAFF, State.QUEUED)
    OURS = (State.WORKING, State.STUCK, State.HELD, State.BEHIND)
    UNAPPLIED = (State.DISCARDED, State.BLACKOUT, State.SUPERSEDED)
    ENDED = (State.LOADED, State.FAILED, *UNAPPLIED, State.UNDONE, State.GONE)

    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="epochs")
    account = models.ForeignKey(SftpAccount, on_delete=models.PROTECT, related_name="epochs")
    name = models.CharField(max_length=1024, help_text="The directory's name, odd characters escaped.")
    state = models.CharField(max_length=16, choices=State, default=State.ARRIVING)

    # What the looks at it have told.
    first_seen = models.DateTimeField(default=timezone.now)
    look_digest = models.CharField(max_length=64, blank=True)
    look_marks = models.CharField(
        max_length=64, blank=True, help_text="A digest of its files' inodes and times, as last seen before its turn."
    )
    look_since = models.DateTimeField(default=timezone.now)
    # Since then no look has found it as it was for so long that it counts as stopped.
    changing_since = models.DateTimeField(default=timezone.now)
    look_code = models.CharField(max_length=40, blank=True)
    look_sentence = models.CharField(max_length=600, blank=True)
    file_count = models.PositiveIntegerField(default=0)
    byte_count = models.PositiveBigIntegerField(default=0)
    unpacked_bytes = models.PositiveBigIntegerField(default=0, help_text="Of what came in a zip, as far as known.")
    hurry = models.BooleanField(default=False, help_text="Staff asked to process it now.")

    staff_told = models.BooleanField(default=False, help_text="That it waits for them; once, whatever arrives later.")

    # What it was taken for, and by whom if a person said so.
    format = models.CharField(max_length=100, blank=True)
    format_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    # How far it has got.
    step = models.CharField(max_length=20, blank=True)
    staging = models.CharField(max_length=64, blank=True)
    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try = models.DateTimeField(null=True, blank=True)
    trouble = models.CharField(max_length=400, blank=True)
    is_ok = models.BooleanField(default=False, help_text="The check found no error.")
    errors = models.PositiveIntegerField(default=0)
    warnings = models.PositiveIntegerField(default=0)
    tallies = models.JSONField(default=list, help_text="How often each code was found: file, code, severity, number.")
    rules = models.CharField(max_length=64, blank=True, help_text="A digest of all that it was checked by.")
    compared_version = models.PositiveBigIntegerField(null=True, blank=True, help_text="The lane's, when compared.")
    applied_version = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="The lane's that it made; empty if it changed nothing or was undone."
    )
    undone = models.DateTimeField(null=True, blank=True)
    forgotten = models.DateTimeField(
        null=True, blank=True, help_text="When the last of the values before it was forgotten."
    )
    archive_name = models.CharField(max_length=80, blank=True)
    log = models.TextField(blank=True)
    queued = models.DateTimeField(null=True, blank=True)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    purged = models.DateTimeField(null=True, blank=True, help_text="When its files left /upload-processed/.")

    class Meta:
        ordering = ["-first_seen", "-pk"]
        indexes = [
            models.Index(fields=["state", "-first_seen"]),
            models.Index(fields=["state", "-finished"]),
            models.Index(fields=["district", "-first_seen"]),
            models.Index(
                fields=["district", "-finished"],
                condition=models.Q(state__in=["loaded", "failed"]),
                name="epochs_that_ended_by_district",
            ),
            # Just the order in which staff see them (`held_first`): a page of millions is found without sorting them.
            models.Index(
                models.Case(models.When(state="held", then=0), default=1),
                models.F("first_seen").desc(),
                models.F("id").desc(),
                name="epochs_held_first",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["district", "name"],
                condition=models.Q(state__in=["arriving", "waiting_staff", "queued"]),
                name="one_open_epoch_of_a_name_per_district",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_under_way(self) -> bool:
        """Whether the page should look again soon."""
        return self.state in (Epoch.State.QUEUED, Epoch.State.WORKING) and not self.is_paused

    @property
    def is_paused(self) -> bool:
        """Whether it waits since its district is suspended."""
        waits = (Epoch.State.ARRIVING, Epoch.State.QUEUED, Epoch.State.BEHIND)
        return self.state in waits and self.district.state == District.State.SUSPENDED

    @property
    def word(self) -> str:
        """The state in a word, the same everywhere."""
        return APPEARANCE[self.state][0]

    @property
    def icon(self) -> str:
        """The state's icon (heroicons)."""
        return APPEARANCE[self.state][1]

    @property
    def tone(self) -> str:
        """The state's colour: good, wait, act, bad or off."""
        return APPEARANCE[self.state][2]


APPEARANCE: dict[str, tuple[str, str, str]] = {
    Epoch.State.ARRIVING: ("Arriving", "clock", "wait"),
    Epoch.State.WAITING_STAFF: ("Waiting for staff", "hand-raised", "act"),
    Epoch.State.QUEUED: ("Waiting", "clock", "wait"),
    Epoch.State.WORKING: ("Being processed", "clock", "wait"),
    Epoch.State.STUCK: ("Stopped", "pause-circle", "act"),
    Epoch.State.HELD: ("Held", "pause-circle", "act"),
    Epoch.State.BEHIND: ("Waiting", "clock", "wait"),
    Epoch.State.LOADED: ("Loaded", "check-circle", "good"),
    Epoch.State.FAILED: ("Not loaded", "x-circle", "bad"),
    Epoch.State.DISCARDED: ("Discarded", "minus-circle", "off"),
    Epoch.State.BLACKOUT: ("Not applied", "minus-circle", "off"),
    Epoch.State.SUPERSEDED: ("Superseded", "minus-circle", "off"),
    Epoch.State.UNDONE: ("Undone", "arrow-uturn-left", "off"),
    Epoch.State.GONE: ("Taken back", "minus-circle", "off"),
}


class StepTime(models.Model):
    """When an epoch finished a step; the page draws the stages from these."""

    epoch = models.ForeignKey(Epoch, on_delete=models.CASCADE, related_name="steps")
    step = models.CharField(max_length=20)
    finished = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["epoch", "step"], name="a_step_finishes_once")]


class EpochFile(models.Model):
    """One file of an epoch as it was copied: the private copy is what is checked, and `sha256` is its digest."""

    epoch = models.ForeignKey(Epoch, on_delete=models.CASCADE, related_name="files")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=1024)
    archive = models.CharField(max_length=1024, blank=True, help_text="The zip it came in, if it came in one.")
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    encoding = models.CharField(max_length=20, blank=True, help_text="What it is written in, if not UTF-8.")
    delimiter = models.CharField(max_length=10, blank=True, help_text="What it was read by, if not commas.")
    mark = models.CharField(
        max_length=100, blank=True, help_text="What its host told of it when it was copied, if that vouches for it."
    )
    table = models.CharField(max_length=100, blank=True)
    mode = models.CharField(max_length=10, blank=True)
    rows = models.PositiveIntegerField(default=0)
    blank = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    warnings = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    records = models.PositiveIntegerField(default=0, help_text="Different records that its rows name.")

    class Meta:
        ordering = ["position"]


class Finding(models.Model):
    """One thing found in an epoch's files. `value` is masked where it may be personal."""

    epoch = models.ForeignKey(Epoch, on_delete=models.CASCADE, related_name="findings")
    file = models.CharField(max_length=1024)
    line = models.PositiveIntegerField(null=True)
    column = models.CharField(max_length=200, blank=True)
    code = models.CharField(max_length=60)
    severity = models.CharField(max_length=10)
    message = models.CharField(max_length=600)
    hint = models.CharField(max_length=400, blank=True)
    value = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["pk"]

    @classmethod
    def of(cls, epoch: Epoch, found: Found) -> "Finding":
        """What was found, as a row that is not saved yet."""
        return cls(
            epoch=epoch,
            file=found.file[:1024],
            line=found.line,
            column=found.column[:200],
            code=found.code,
            severity=found.severity.value,
            message=found.message[:600],
            hint=found.hint[:400],
            value=found.value[:120],
        )


class Dataset(models.Model):
    """What a district's files of one table have become so far: the state after the last loaded night."""

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="datasets")
    format = models.CharField(max_length=100)
    table = models.CharField(max_length=100)
    active = models.PositiveBigIntegerField(default=0, help_text="How many records are not removed.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["district", "format", "table"], name="one_dataset_per_table")]


class Record(models.Model):
    """One row of a dataset under its key. A row that went missing is marked removed, never deleted.

    The database checks none of its foreign keys: a queue of ten million checks would not fit into memory, and
    `loading` has read what it writes in the same transaction. An index of the dataset would repeat the constraint's.
    """

    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="records", db_constraint=False, db_index=False
    )
    key = models.CharField(max_length=600)
    digest = models.BinaryField(max_length=16)
    data = models.JSONField()
    is_removed = models.BooleanField(default=False)
    first_epoch = models.ForeignKey(
        Epoch, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    last_epoch = models.ForeignKey(
        Epoch, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "key"], name="one_record_per_key")]


class RecordChange(models.Model):
    """What one epoch did to a record that was there: enough to tell its history, and to take it back.

    `old` holds the values before, of those columns only that changed; null for a column that there was not. When they
    are `forgotten` only the columns' names are left in it, each with null.
    """

    class What(models.TextChoices):
        CHANGED = "changed", "Changed"
        REMOVED = "removed", "Removed"
        RETURNED = "returned", "Came back"

    record = models.ForeignKey(Record, on_delete=models.CASCADE, related_name="changes", db_constraint=False)
    epoch = models.ForeignKey(Epoch, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    what = models.CharField(max_length=8, choices=What)
    old = models.JSONField(default=dict)
    forgotten = models.BooleanField(default=False, db_default=False)
    old_digest = models.BinaryField(max_length=16)
    old_epoch = models.ForeignKey(
        Epoch, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )

    class Meta:
        ordering = ["pk"]


class Addition(models.Model):
    """Between which numbers the records lie that an epoch added to a dataset; they have no other index."""

    epoch = models.ForeignKey(Epoch, on_delete=models.CASCADE, related_name="additions")
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="+")
    first = models.PositiveBigIntegerField()
    last = models.PositiveBigIntegerField()


class RecordPage(models.Model):
    """What comparisons ask of a dataset's records, 33 bytes each (`core.onrecord`): the later page counts.

    A copy that may be thrown away: without any page a comparison reads the records themselves, and makes new ones.
    Each load adds what it changed, so that a night reads a small part of what the records take.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="pages")
    rows = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["pk"]


class GuardState(models.Model):
    """What a district's records are now, as far as nights are compared with it: facts of the last applied one.

    Whoever changes it holds the district's `Lane` row, so that two people, or a person and a worker, come one by one.
    """

    district = models.OneToOneField(District, on_delete=models.CASCADE, related_name="guard")
    applied = models.JSONField(null=True, help_text="Numbers and shapes (`core.facts`), nobody's data.")
    epoch = models.ForeignKey(Epoch, null=True, on_delete=models.SET_NULL, related_name="+")
    stopped = models.CharField(max_length=400, blank=True, help_text="Why nothing is applied until staff release it.")
    stopped_at = models.DateTimeField(null=True)


class Judgement(models.Model):
    """What the guard said of one night, and what a person decided about it."""

    class Act(models.TextChoices):
        APPROVED = "approved", "Approved once"
        DISCARDED = "discarded", "Discarded"

    epoch = models.OneToOneField(Epoch, on_delete=models.CASCADE, related_name="judgement")
    state = models.CharField(max_length=16, blank=True)
    message = models.TextField(blank=True)
    reasons = models.JSONField(default=list)
    cause = models.JSONField(null=True)
    tables = models.JSONField(default=list, help_text="Per file: records, changes, and the limit of each kind.")
    sample = models.JSONField(default=list, help_text="Rows as they may be shown; gone when the night is decided.")
    content = models.CharField(max_length=64, blank=True)
    against = models.CharField(max_length=64, blank=True, help_text="The digest of the state it was compared with.")
    night = models.JSONField(null=True, help_text="The night's facts, until it has ended.")
    before = models.JSONField(null=True, help_text="What was applied before this night, as long as it can be undone.")
    judged = models.DateTimeField(default=timezone.now)
    act = models.CharField(max_length=10, choices=Act, blank=True)
    act_message = models.CharField(max_length=600, blank=True)
    act_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    act_at = models.DateTimeField(null=True, blank=True)


class HoldNote(models.Model):
    """A question of staff about a held night, or what the district says about it. Never mailed: pages show it."""

    epoch = models.ForeignKey(Epoch, on_delete=models.CASCADE, related_name="notes")
    text = models.CharField(max_length=1000)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    is_question = models.BooleanField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]


class StaffNote(models.Model):
    """What one of staff wants colleagues to know of an epoch. Plain text; its district never sees it."""

    epoch = models.ForeignKey(Epoch, on_delete=models.CASCADE, related_name="staff_notes")
    text = models.CharField(max_length=2000)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]


class ChangeLimit(models.Model):
    """How much of one kind may change in a night. `percent` -1: any number."""

    class What(models.TextChoices):
        ADDED = "added", "Added"
        CHANGED = "changed", "Changed"
        REMOVED = "removed", "Removed"

    what = models.CharField(max_length=10, choices=What)
    table = models.CharField(max_length=100, blank=True)
    percent = models.DecimalField(max_digits=5, decimal_places=2)
    floor = models.PositiveIntegerField(default=0)

    class Meta:
        abstract = True


class StandingLimit(ChangeLimit):
    """A district's own limit, which stands until it is changed."""

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="limits")

    class Meta:
        ordering = ["table", "what"]
        constraints = [models.UniqueConstraint(fields=["district", "what", "table"], name="one_limit_of_a_kind")]


class LimitRaise(ChangeLimit):
    """A wider limit for some days, first and last included; `ended`: taken back before."""

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="limit_raises")
    first = models.DateField()
    last = models.DateField()
    reason = models.CharField(max_length=300)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    ended = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-last", "-pk"]


class BlackoutDays(models.Model):
    """Days on which nights are received and checked, but not applied; without a district: of every one."""

    district = models.ForeignKey(District, null=True, on_delete=models.CASCADE, related_name="blackouts")
    first = models.DateField()
    last = models.DateField()
    why = models.CharField(max_length=300)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    ended = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-last", "-pk"]


class ExpectedArrival(models.Model):
    """By when a district's epoch should have come, in its own time, and on which weekdays (0 is Monday)."""

    district = models.OneToOneField(District, on_delete=models.CASCADE, related_name="expected_arrival")
    by = models.TimeField()
    days = models.CharField(max_length=7, default="0123456")


class MissingNight(models.Model):
    """A night that did not come, and who was told of it; once each."""

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="missing_nights")
    day = models.DateField()
    audience = models.CharField(max_length=10)
    message = models.CharField(max_length=300)
    told = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-day", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["district", "day", "audience"], name="a_missing_night_told_once")
        ]


class RecordLook(models.Model):
    """Somebody of staff looked at one record's history, and why. Its page can be read again for a short while."""

    # Not checked by the database: taking a night back deletes the records that it added.
    record = models.ForeignKey(Record, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=300)
    at = models.DateTimeField(default=timezone.now)


class FileSettings(models.Model):
    """What a district says of how its files are written. Without a row nothing is said."""

    district = models.OneToOneField(District, on_delete=models.CASCADE, related_name="file_settings")
    windows_1252 = models.BooleanField(default=False, help_text="A file that is not UTF-8 is read as Windows-1252.")
    delimiter = models.CharField(
        max_length=10, choices=[(one.word, one.many) for one in EVERY], default=COMMA.word, help_text="Between values."
    )


class Trial(Leased):
    """Files that a district had checked before sending them. They lie in `place` until then; nothing is applied.

    The row is the queue, and what is left of it is the report, for a day.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting its turn"
        CHECKING = "checking", "Being checked"
        DONE = "done", "Checked"
        STOPPED = "stopped", "Not checked"

    class Outcome(models.TextChoices):
        OK = "ok", "Would be loaded"
        ERRORS = "errors", "Would not be loaded"
        UNRECOGNISED = "unrecognised", "Not recognised"

    UNDER_WAY = (State.WAITING, State.CHECKING)

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="trials")
    asked_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    asked = models.DateTimeField(default=timezone.now)
    finished = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    outcome = models.CharField(max_length=15, choices=Outcome, blank=True)
    place = models.CharField(max_length=32, unique=True)
    tries = models.PositiveSmallIntegerField(default=0)
    files = models.JSONField(default=list, help_text="What was sent: name and size of each.")
    byte_count = models.PositiveBigIntegerField(default=0)
    rows_read = models.PositiveBigIntegerField(default=0)
    format = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    near_misses = models.JSONField(default=list, help_text="Formats it resembles, and the reasons why it is not they.")
    counts = models.JSONField(default=list, help_text="Of each file that was read: rows, blank, errors, warnings.")
    findings = models.JSONField(default=list, help_text="The worst ones first; values are masked.")
    errors = models.PositiveIntegerField(default=0)
    warnings = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-asked", "-pk"]
        indexes = [models.Index(fields=["state", "asked"])]

    @property
    def is_under_way(self) -> bool:
        """Whether the page should look again soon."""
        return self.state in Trial.UNDER_WAY

    @property
    def word(self) -> str:
        """The state, or what came of it, in a word."""
        return TRIAL_APPEARANCE[self.outcome or self.state][0]

    @property
    def icon(self) -> str:
        """Its icon (heroicons)."""
        return TRIAL_APPEARANCE[self.outcome or self.state][1]

    @property
    def tone(self) -> str:
        """Its colour: good, wait, act, bad or off."""
        return TRIAL_APPEARANCE[self.outcome or self.state][2]


class FindingList(models.Model):
    """All findings of an epoch, or of a trial, as CSV packed with gzip (`core.listing`), up to a setting's number.

    An epoch's goes with its files in /upload-processed/, a trial's with its result.
    """

    epoch = models.OneToOneField(Epoch, null=True, on_delete=models.CASCADE, related_name="finding_list")
    trial = models.OneToOneField(Trial, null=True, on_delete=models.CASCADE, related_name="finding_list")
    rows = models.PositiveIntegerField()
    left_out = models.PositiveBigIntegerField(default=0, help_text="How many more were found and are not in it.")
    data = models.BinaryField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(epoch__isnull=True) ^ models.Q(trial__isnull=True),
                name="a_finding_list_is_of_an_epoch_or_a_trial",
            )
        ]


TRIAL_APPEARANCE: dict[str, tuple[str, str, str]] = {
    Trial.State.WAITING: ("Waiting", "clock", "wait"),
    Trial.State.CHECKING: ("Being checked", "clock", "wait"),
    Trial.State.STOPPED: ("Not checked", "x-circle", "bad"),
    Trial.Outcome.OK: ("In order", "check-circle", "good"),
    Trial.Outcome.ERRORS: ("Has errors", "x-circle", "bad"),
    Trial.Outcome.UNRECOGNISED: ("Not recognised", "hand-raised", "act"),
}
