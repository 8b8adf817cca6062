"""`manage.py verify_audit`: whether the audit log is as it was written. Reads only."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.audit import Verdict, verify
from accounts.core.chain import Head, read_head

UNREADABLE_HEAD = 2


class Command(BaseCommand):
    """Exit status 0 if the log is whole and has the head given, 1 if not, 2 if the head cannot be read."""

    help = (
        "Prove that no entry of the audit log was changed, lost or put in; against a head kept elsewhere, since when."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """A head, and for whom to write."""
        parser.add_argument("--head", metavar="H", help="a head kept elsewhere, as the daily mail tells it: 12:0a1b...")
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints what was found."""
        kept = _read(options["head"])
        verdict = verify(kept)
        self.stdout.write(json.dumps(_facts(verdict, kept)) if options["json"] else "\n".join(_told(verdict, kept)))
        if not verdict.is_sound:
            sys.exit(1)


def _read(text: str | None) -> Head | None:
    try:
        return read_head(text) if text is not None else None
    except ValueError as error:
        raise CommandError(str(error), returncode=UNREADABLE_HEAD) from None


def _facts(verdict: Verdict, kept: Head | None) -> dict[str, object]:
    return {
        "sound": verdict.is_sound,
        "entries": verdict.end.number,
        "head": str(verdict.end),
        "broken_at": verdict.broken_at,
        "has_given_head": None if kept is None else verdict.has_kept_head,
    }


def _told(verdict: Verdict, kept: Head | None) -> list[str]:
    if verdict.broken_at is not None:
        return [
            f"BROKEN at entry {verdict.broken_at:,}: the entries before it are as they were written.",
            "Somebody changed the database behind the portal. Keep a copy of it as it is; compare it with a backup.",
        ]
    told = [f"Whole: {verdict.end.number:,} entries follow from each other.", f"Head: {verdict.end}"]
    if kept is None:
        return told
    if verdict.has_kept_head:
        return [*told, f"It has the head you gave: up to entry {kept.number:,} it is as it was then."]
    return [
        f"NOT THE SAME: no entry has the head you gave ({kept}).",
        f"The log was written anew since, or is an older one. Its head now: {verdict.end}",
    ]
