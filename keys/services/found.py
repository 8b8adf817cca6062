"""Keys that were found on a host and taken off it: only their district can say that they are its own."""

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import SftpAccount

from ..core.parse import Paste
from ..models import FoundLine, KeyFile
from ..selectors import box_text
from ..sets import By
from .guards import is_staff
from .saving import Difference, keys_save


class NotKept(Exception):
    """The finding was decided in the meantime, is another account's, or holds no key. Nothing was changed."""


class OnlyTheDistrict(Exception):
    """Staff asked for what only the district itself may say."""


def found_key_adopt(found: FoundLine, *, by: By) -> tuple[Difference, Paste]:
    """Adds the key of a finding to the account's, as if it had been pasted: by every rule for a pasted key.

    Raises NotKept, OnlyTheDistrict, and what `keys_save` raises; then nothing was changed.
    """
    account = _account_of(found, by)
    key = found.key_line()
    if not key:
        raise NotKept
    version = KeyFile.objects.get(account=account).version
    difference, paste = keys_save(account, f"{box_text(account)}{key}\n", seen_version=version, by=by)
    _decided(found, account, FoundLine.State.ADOPTED, by)
    return difference, paste


def found_line_dismiss(found: FoundLine, *, by: By) -> None:
    """Notes that the district does not know the line. It stays off the host either way. Raises as `found_key_adopt`."""
    _decided(found, _account_of(found, by), FoundLine.State.DISMISSED, by)


def _account_of(found: FoundLine, by: By) -> SftpAccount:
    if found.account is None or found.state != FoundLine.State.KEPT:
        raise NotKept
    if by.actor is None or is_staff(found.account, by):
        raise OnlyTheDistrict
    return found.account


@transaction.atomic
def _decided(found: FoundLine, account: SftpAccount, state: FoundLine.State, by: By) -> None:
    kept = FoundLine.objects.filter(pk=found.pk, state=FoundLine.State.KEPT)
    if kept.update(state=state, decided=timezone.now(), decided_by=by.actor):
        audit.record(
            f"found key {state.label.lower()}",
            actor=by.actor,
            district=account.district,
            subject=account.username,
            details={"fingerprint": found.fingerprint, "from": by.address},
        )
