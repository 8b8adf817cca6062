"""Whether a night says byte for byte what the records agree with already: then it is not read again."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from django.conf import settings

from .core.discovery import auto_name
from .models import Epoch, FindingList, Lane

PACKAGE = Path(__file__).parent
Content = list[tuple[str, str, str, int, str, str]]


@cache
def _checker() -> str:
    """A digest of all that checks, reads and compares: the formats and the core. Another version checks anew."""
    digest = sha256()
    for place in sorted([*PACKAGE.glob("core/**/*.py"), *PACKAGE.glob("formats/*.json")]):
        digest.update(place.name.encode() + b"\0" + place.read_bytes())
    return digest.hexdigest()


def rules() -> str:
    """A digest of all that decides what a check finds, but for the files."""
    kept = (settings.INGEST_FINDINGS_PER_CODE, settings.INGEST_FINDINGS_LISTED)
    return sha256(f"{_checker()} {kept}".encode()).hexdigest()


def same_as(epoch: Epoch) -> Epoch | None:
    """The epoch that the records agree with, if it has the very same files and was checked by the same rules."""
    lane = Lane.objects.select_related("latest").filter(district=epoch.district_id).first()
    latest = lane.latest if lane else None
    if latest is None or (latest.format, latest.rules) != (epoch.format, rules()):
        return None
    # The same file as an epoch by itself and in a directory is judged by other rules.
    if (auto_name(latest.name) is None) != (auto_name(epoch.name) is None):
        return None
    return latest if content(latest) == content(epoch) and _can_be_told_again(latest) else None


def _can_be_told_again(epoch: Epoch) -> bool:
    """Whether all that was found in it is still listed; lists go when their days are over."""
    return not epoch.tallies or FindingList.objects.filter(epoch=epoch).exists()


def content(epoch: Epoch) -> Content:
    """All that an epoch says: its files with their digests, and how they were read."""
    return sorted(epoch.files.values_list("archive", "name", "sha256", "size", "encoding", "delimiter"))
