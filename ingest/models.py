"""Uploaded epochs, what was found in them, and the records they became."""

from django.db import models
from django.utils import timezone

from accounts.leases import Leased
from accounts.models import District, SftpAccount, User


class Lane(Leased):
    """One per district: whoever holds its lease is the only one to work on that district's epochs, in name order."""

    district = models.OneToOneField(District, on_delete=models.CASCADE, related_name="lane")


class Epoch(models.Model):
    """One directory a district uploaded. The row is the queue and the history; `step` is the last step finished."""

    class State(models.TextChoices):
        ARRIVING = "arriving", "Arriving"
        WAITING_STAFF = "waiting_staff", "Waiting for staff"
        QUEUED = "queued", "Waiting its turn"
        WORKING = "working", "Being processed"
        STUCK = "stuck", "Stopped by trouble on our side"
        LOADED = "loaded", "Loaded"
        FAILED = "failed", "Not loaded"
        GONE = "gone", "Taken back by the district"

    # In these the directory is still the district's; in the next ones it is ours; in the last ones it is done with.
    OUTSIDE = (State.ARRIVING, State.WAITING_STAFF, State.QUEUED)
    OURS = (State.WORKING, State.STUCK)
    ENDED = (State.LOADED, State.FAILED, State.GONE)

    district = models.ForeignKey(District, on_delete=models.PROTECT, related_name="epochs")
    account = models.ForeignKey(SftpAccount, on_delete=models.PROTECT, related_name="epochs")
    name = models.CharField(max_length=1024, help_text="The directory's name, odd characters escaped.")
    state = models.CharField(max_length=16, choices=State, default=State.ARRIVING)

    # What the looks at it have told.
    first_seen = models.DateTimeField(default=timezone.now)
    look_digest = models.CharField(max_length=64, blank=True)
    look_since = models.DateTimeField(default=timezone.now)
    look_code = models.CharField(max_length=40, blank=True)
    look_sentence = models.CharField(max_length=600, blank=True)
    file_count = models.PositiveIntegerField(default=0)
    byte_count = models.PositiveBigIntegerField(default=0)
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
    archive_name = models.CharField(max_length=80, blank=True)
    log = models.TextField(blank=True)
    queued = models.DateTimeField(null=True, blank=True)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    purged = models.DateTimeField(null=True, blank=True, help_text="When its files left /upload-processed/.")

    class Meta:
        ordering = ["-first_seen", "-pk"]
        indexes = [models.Index(fields=["state"]), models.Index(fields=["district", "-first_seen"])]
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
        return self.state in (Epoch.State.QUEUED, Epoch.State.WORKING)

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
    Epoch.State.STUCK: ("Held", "pause-circle", "act"),
    Epoch.State.LOADED: ("Loaded", "check-circle", "good"),
    Epoch.State.FAILED: ("Not loaded", "x-circle", "bad"),
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


class Dataset(models.Model):
    """What a district's files of one table have become so far: the state after the last loaded night."""

    district = models.ForeignKey(District, on_delete=models.CASCADE, related_name="datasets")
    format = models.CharField(max_length=100)
    table = models.CharField(max_length=100)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["district", "format", "table"], name="one_dataset_per_table")]


class Record(models.Model):
    """One row of a dataset under its key. A row that went missing is marked removed, never deleted."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="records")
    key = models.CharField(max_length=600)
    digest = models.BinaryField(max_length=16)
    data = models.JSONField()
    is_removed = models.BooleanField(default=False)
    first_epoch = models.ForeignKey(Epoch, on_delete=models.PROTECT, related_name="+")
    last_epoch = models.ForeignKey(Epoch, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "key"], name="one_record_per_key")]
