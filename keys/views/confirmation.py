"""What a page says after a change: exactly what is different now, and by when it counts. Shown once."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpRequest

from accounts.models import SftpAccount

from .. import selectors, services
from ..core.errors import Problem
from ..core.parse import Paste
from ..core.publickey import PublicKey
from ..models import KeySet
from ..sets import Fact

Confirmation = dict[str, Any]


def confirmation_of_save(difference: services.Difference, paste: Paste) -> Confirmation:
    """After Save of the whole box."""
    return {
        "total": len(paste.keys),
        "added": _plain(difference.added),
        "removed": [fact.plain() for fact in difference.removed],
        "kept": _plain(difference.kept),
        "renamed": [key for key in _plain(difference.renamed) if key["comment"]],
        "unnamed": [key for key in _plain(difference.renamed) if not key["comment"]],
        "notes": list(_placed(paste)),
        "is_same": difference.is_empty,
        "live_by": _live_by(),
    }


def confirmation_of_change(account: SftpAccount, made: KeySet | None, notes: Iterable[Problem] = ()) -> Confirmation:
    """After a change of one key, or of the networks of all; `made` None: nothing was different."""
    return {
        "total": account.keys.count(),
        "added": made.added if made else [],
        "removed": made.removed if made else [],
        "changed": made.changed if made else [],
        "notes": _messages(notes),
        "is_same": made is None,
        "live_by": _live_by(),
    }


def confirmation_shown(request: HttpRequest, account: SftpAccount, told: Confirmation) -> None:
    """Keeps it for the account's page, which comes next."""
    request.session[_place(account)] = told


def confirmation_taken(request: HttpRequest, account: SftpAccount) -> Confirmation | None:
    """What is to be shown now, once."""
    told: Confirmation | None = request.session.pop(_place(account), None)
    return told


def _place(account: SftpAccount) -> str:
    return f"keys-saved-{account.pk}"


def _plain(keys: Iterable[PublicKey]) -> list[dict[str, str]]:
    return [Fact.of(key).plain() for key in keys]


def _messages(problems: Iterable[Problem]) -> list[str]:
    return [problem.message for problem in problems]


def _placed(paste: Paste) -> Iterator[str]:
    """The notes of a paste, each with the key it is about or with the line it stood at."""
    keys = dict(zip(paste.lines, paste.keys, strict=True))
    for note in paste.notes:
        key = keys.get(note.line or 0)
        place = f"Line {note.line}" if note.line else "The box"
        yield f"{(key.comment or key.fingerprint) if key else place}: {note.message}"


def _live_by() -> str:
    return selectors.next_hourly_run().isoformat()
