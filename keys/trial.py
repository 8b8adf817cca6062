"""One careful try to reach a host, told step by step: for ops who set one up, or look why it is away."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from django.utils import timezone

from hosts import condition, helper
from hosts.connect import Times, connected, host_answered
from hosts.core import paths
from hosts.core.errors import HostError, HostKeyChanged, HostKeyUnknown, HostStopped, NotThere, SignInRefused
from hosts.files import EntryKind, HostFiles
from hosts.keyplace import key_place
from hosts.models import Host

# A person waits for it, in seconds.
TIMES = Times(connect=5, banner=5, key_exchange=8, sign_in=8, answer=8, run=20)


class Step(Enum):
    """What has to work, one after the other."""

    ANSWERS = "The machine answers"
    HOST_KEY = "Its host key is the confirmed one"
    SIGN_IN = "It lets the portal in"
    KEYS = "The portal reaches the directory of key files"
    HELPER = "The helper on the machine answers"


# The step at which an error of this kind came.
_AT = (
    (HostKeyUnknown, Step.HOST_KEY),
    (HostKeyChanged, Step.HOST_KEY),
    (HostStopped, Step.HOST_KEY),
    (SignInRefused, Step.SIGN_IN),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """How far the try got. `failed` is None if all went well; `code` and `reason` say what went wrong there."""

    at: datetime
    done: tuple[Step, ...]
    failed: Step | None = None
    code: str = ""
    reason: str = ""
    about: helper.About | None = None

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """Each step in words, with how it went: done, failed or open."""
        return tuple((step.value, self._word(step)) for step in Step)

    @property
    def clock(self) -> str:
        """What is wrong with the machine's clock; empty if nothing is."""
        if self.about is None or not condition.is_clock_off(self.about):
            return ""
        off = self.about.clock_off or 0
        minutes, way = round(abs(off) / 60), "ahead of" if off > 0 else "behind"
        return f"The machine’s clock is {minutes:,} minute{'' if minutes == 1 else 's'} {way} the portal’s."

    def _word(self, step: Step) -> str:
        if step in self.done:
            return "done"
        return "failed" if step is self.failed else "open"


def host_try(host: Host) -> Trial:
    """Connects, signs in, looks for the directory of keys and asks the helper. No key file is touched.

    What was found out about the host stands in its row afterwards. Never raises a HostError.
    """
    reached = 0
    try:
        with connected(host, TIMES) as files:
            reached = 3
            _look_for_keys(files)
            reached = 4
            about = helper.about(files)
            # The helper has looked after them just now, and tells whose group they must have.
            host.keys_group, reached = about.keys_group, 3
            key_place(host, files)
    except HostError as error:
        return _failed(host, reached, error)
    host_answered(host)
    # With a key that was replaced meanwhile nothing would be reached any more.
    rows = Host.objects.filter(pk=host.pk, client_key_public=host.client_key_public)
    rows.update(last_ok=timezone.now(), tries=0, next_try=None, reason="")
    condition.condition_note(host.pk, about)
    return Trial(timezone.now(), tuple(Step), about=about)


def _look_for_keys(files: HostFiles) -> None:
    if _has_keys(files):
        return
    with suppress(HostError):  # it makes the directory before it answers
        helper.about(files)
    if not _has_keys(files):
        raise NotThere(
            "The directory “keys” is missing there, and the helper has not made it. Look whether sftp-portal-helper "
            "runs on the machine, or run the installer there once more."
        )


def _has_keys(files: HostFiles) -> bool:
    entry = files.stat(paths.keys_directory())
    return entry is not None and entry.kind is EntryKind.DIRECTORY


def _failed(host: Host, reached: int, error: HostError) -> Trial:
    steps = tuple(Step)
    failed = steps[reached]
    if reached == 0:
        failed = next((step for kind, step in _AT if isinstance(error, kind)), Step.ANSWERS)
    # What passes by itself is for the next run to note; of its key the host's row tells already.
    if not error.retry and failed is not Step.HOST_KEY:
        Host.objects.filter(pk=host.pk).update(reason=error.message[:400])
    return Trial(timezone.now(), steps[: steps.index(failed)], failed, error.code, error.message)
