"""What must hold before a set of keys may be changed, whoever asks and by whatever page."""

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts import notices
from accounts.access import role_in
from accounts.core.roles import STAFF_ROLES, Role
from accounts.models import District, SftpAccount

from ..core.errors import Problem
from ..core.publickey import PublicKey
from ..models import AccountKey, LostKey, SharedKeyRequest
from ..sets import By

# Who decides whether two districts may have one key.
DECIDING = (Role.SUPPORT, Role.SYSTEM_ADMINISTRATOR)


class ReasonMissing(Exception):
    """Staff change a district's keys only with a reason, which the district sees. Nothing was stored."""


class KeyElsewhere(Exception):
    """Another account has one of these keys, or it was reported lost. Nothing was stored; staff have been told.

    `keys` are the keys it is about; `lost` those of them this account itself has reported lost, which staff cannot
    allow; `declined` the reasons of staff who have declined one already, by fingerprint.
    """

    def __init__(
        self,
        keys: tuple[PublicKey, ...],
        lost: tuple[PublicKey, ...],
        declined: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__("A key is in use elsewhere or was lost.")
        self.keys = keys
        self.lost = lost
        self.declined = declined


def is_staff(account: SftpAccount, by: By) -> bool:
    """Whether the vendor's own people do this, as opposed to the district's."""
    return by.actor is not None and role_in(by.actor, account.district) in STAFF_ROLES


def reason_given(account: SftpAccount, by: By) -> None:
    """Raises ReasonMissing if staff gave no reason."""
    if is_staff(account, by) and not by.reason.strip():
        raise ReasonMissing


def today_in(district: District) -> date:
    """The calendar day in the district's time zone."""
    return timezone.now().astimezone(ZoneInfo(district.time_zone)).date()


def sharing_checked(account: SftpAccount, keys: Iterable[PublicKey], by: By) -> None:
    """Raises KeyElsewhere if a new key is another account's or was lost, unless staff have allowed it.

    Staff are told of each such key once. Without telling whose it is: a district learns nothing of others.
    """
    own = set(account.keys.values_list("fingerprint", flat=True))
    new = {key.fingerprint: key for key in keys if key.fingerprint not in own}
    lost_here = set(account.lost_keys.filter(fingerprint__in=new).values_list("fingerprint", flat=True))
    asked = taken(account, new) - lost_here
    if asked:
        staff_ask(account, [new[print] for print in sorted(asked)], by)
    if asked or lost_here:
        both = tuple(key for print, key in new.items() if print in asked | lost_here)
        raise KeyElsewhere(both, tuple(key for key in both if key.fingerprint in lost_here), _declined(account, asked))


def not_taken_meanwhile(account: SftpAccount, keys: Iterable[PublicKey]) -> None:
    """Raises TakenMeanwhile if another account took one of these keys since `sharing_checked`.

    Asked at the end of the saving transaction: it holds the head of the audit log by then, so changes of keys come one
    after the other, whoever's they are.
    """
    if taken(account, [key.fingerprint for key in keys]):
        raise TakenMeanwhile


class TakenMeanwhile(Exception):
    """Two accounts saved one key in the same moment, and the other was first. Nothing was stored."""


def taken(account: SftpAccount, prints: Iterable[str]) -> set[str]:
    """Which keys another account has (or has lost), and staff have not allowed here since."""
    lost_since = LostKey.objects.filter(fingerprint=OuterRef("fingerprint"), at__gte=OuterRef("decided"))
    asked = account.shared_key_requests.filter(state=SharedKeyRequest.State.ALLOWED, fingerprint__in=list(prints))
    allowed = asked.exclude(Exists(lost_since.exclude(account=account)))
    return _elsewhere(account, prints) - set(allowed.values_list("fingerprint", flat=True))


def _declined(account: SftpAccount, prints: Iterable[str]) -> dict[str, str]:
    asked = account.shared_key_requests.filter(state=SharedKeyRequest.State.DECLINED, fingerprint__in=list(prints))
    return dict(asked.values_list("fingerprint", "reason"))


def _elsewhere(account: SftpAccount, prints: Iterable[str]) -> set[str]:
    found: set[str] = set()
    used = AccountKey.objects.exclude(account__district__state=District.State.CLOSED)
    for rows in (used, LostKey.objects.all()):
        others = rows.filter(fingerprint__in=list(prints)).exclude(account=account)
        found |= set(others.values_list("fingerprint", flat=True))
    return found


@transaction.atomic
def staff_ask(
    account: SftpAccount, keys: Iterable[PublicKey | AccountKey], by: By, *, is_reopened: bool = False
) -> None:
    """Tells staff of keys that are `taken`, of each once; once more if it was lost after they had allowed it.

    `is_reopened`: the district has them from before it was closed, and nobody tries to save them now.
    """
    for key in keys:
        told = {"label": key.label, "comment": key.comment, "asked_by": by.actor}
        request, is_new = SharedKeyRequest.objects.get_or_create(
            account=account, fingerprint=key.fingerprint, defaults=told
        )
        about = f"shared-key-{request.pk}"
        lost = _lost_since(request)
        if lost:
            _ask_anew(request, by)
            about += f"-lost-{lost.pk}"
        elif not is_new:
            continue
        context = {"request": request, "is_reopened": is_reopened}
        notices.notice_send("shared-key", notices.staff_in(*DECIDING), context, about=about)


def _lost_since(request: SharedKeyRequest) -> LostKey | None:
    """The newest loss of the key in another account after staff had allowed it here."""
    if request.state != SharedKeyRequest.State.ALLOWED or request.decided is None:
        return None
    lost = LostKey.objects.filter(fingerprint=request.fingerprint, at__gte=request.decided)
    return lost.exclude(account=request.account).first()


def _ask_anew(request: SharedKeyRequest, by: By) -> None:
    request.state, request.asked, request.asked_by = SharedKeyRequest.State.WAITING, timezone.now(), by.actor
    request.decided, request.decided_by, request.reason = None, None, ""
    request.save(update_fields=["state", "asked", "asked_by", "decided", "decided_by", "reason"])


def refusal(key: PublicKey, line: int | None, *, is_lost: bool, declined: str | None = None) -> Problem:
    """What the district reads of such a key, beside its line. `declined` is the reason of staff, if they have."""
    if is_lost:
        return Problem(
            "key-lost",
            "This key was reported as belonging to a lost computer. It is not taken again.",
            "Make a new pair with `ssh-keygen -t ed25519` (PuTTYgen: type EdDSA) and paste its public key.",
            line,
        )
    if declined is not None:
        return Problem(
            "key-elsewhere",
            f"Our support has declined this key for you. Their reason: {declined}",
            "Make a pair of your own with `ssh-keygen -t ed25519` and paste its public key. "
            "If the reason no longer holds, write to our support.",
            line,
        )
    return Problem(
        "key-elsewhere",
        "This key is in use somewhere else, so it cannot be added here as it is. We have told our support.",
        "If your provider uses one key for several districts, support can allow it and lets you know. "
        "Or make a pair of your own: `ssh-keygen -t ed25519`.",
        line,
    )
