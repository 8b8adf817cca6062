"""What is kept how long: one table, for the page that tells it. A row names the setting it goes by, if any."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import district_for, tool_for
from accounts.core.roles import Tool
from accounts.core.slowing import FORGOTTEN_AFTER
from ingest.guarding import UNDOABLE

ALWAYS = "As long as this portal runs"


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of thing: how long it is kept, what becomes of it then, and whether a district is told of it."""

    what: str
    how_long: str
    then: str
    setting: str = ""
    is_districts: bool = True


def _days(name: str) -> str:
    number = getattr(settings, name)
    return f"{number} day{'' if number == 1 else 's'}"


def _hours(number: float) -> str:
    return f"{number:g} hour{'' if number == 1 else 's'}"


def kept() -> tuple[Kept, ...]:
    """Everything that is kept, with the settings of today."""
    return (
        Kept(
            "Uploaded files, in /upload-processed/ with their log and findings.csv",
            _days("PROCESSED_DAYS"),
            "They are deleted there. That a night came, its log, its counts and some findings of each kind stay.",
            "PROCESSED_DAYS",
        ),
        Kept(
            "Private copies of uploaded files while they are processed",
            "Until the night has ended",
            "They are deleted.",
        ),
        Kept(
            "Records: the rows of your files as they are now",
            ALWAYS,
            "A row that a full set no longer has is marked as removed and kept.",
        ),
        Kept(
            "What a record held before a night changed it",
            _days("INGEST_HISTORY_DAYS"),
            "The values are forgotten; which night changed which columns stays. "
            f"Of the {UNDOABLE} newest applied nights they are kept, so that these can be taken back.",
            "INGEST_HISTORY_DAYS",
        ),
        Kept("Files that you had checked before sending", "Until the check has ended", "They are deleted."),
        Kept(
            "The result of such a check",
            _hours(settings.TRIAL_RESULT_HOURS),
            "It is deleted, with its list of findings.",
            "TRIAL_RESULT_HOURS",
        ),
        Kept("Files in /downloads/", "As long as they lie there", "This portal deletes none of them."),
        Kept(
            "Public keys",
            "Until somebody removes them, or their last day",
            "They leave the SFTP host at once. That there was such a key, when, and who changed it stays.",
        ),
        Kept(
            "A key that today’s rules refuse",
            _days("KEY_GRACE_DAYS"),
            "It is disabled. Where anybody could sign in with it, after three days at most.",
            "KEY_GRACE_DAYS",
        ),
        Kept("Keys of lost computers, as fingerprints", ALWAYS, "So that such a key is never taken again."),
        Kept("SFTP sign-ins: when, from where, with which key", ALWAYS, "Nothing deletes them by itself."),
        Kept(
            "Invitations that nobody has accepted",
            _days("INVITATION_DAYS"),
            "They open nothing any more. That somebody was invited stays.",
            "INVITATION_DAYS",
        ),
        Kept(
            "What a mail said",
            "Until it was sent",
            "That it went, when, to whom and its subject stays. Without a mail server its text stays, too.",
        ),
        Kept(
            "Sign-ins to these pages",
            f"{settings.SESSION_COOKIE_AGE // 86400} days",
            "You sign in anew. Each person can end their own before.",
        ),
        Kept(
            "Wrong passwords and codes, as a number without the address it came from",
            _hours(FORGOTTEN_AFTER.total_seconds() / 3600),
            "They are deleted so long after the last one.",
        ),
        Kept("Audit log: who did what", ALWAYS, "Nothing in it can be changed or deleted. It holds no student data."),
        Kept("Notes of staff on a night", ALWAYS, "They stay with the night.", is_districts=False),
        Kept(
            "What was found on hosts and taken off", ALWAYS, "The line is kept with when and where.", is_districts=False
        ),
        Kept("Runs, and what each did", ALWAYS, "Nothing deletes them by itself.", is_districts=False),
    )


@require_safe
def retention(request: HttpRequest) -> HttpResponse:
    """All of it, for staff, with the names of the settings."""
    tool_for(request.user, Tool.DISTRICTS)
    return render(request, "portal/retention.html", {"kept": kept(), "is_staffs": True})


@require_safe
def district_retention(request: HttpRequest, slug: str) -> HttpResponse:
    """What is kept of a district, for its people."""
    district = district_for(request.user, slug, Tool.UPLOADS)
    theirs = [one for one in kept() if one.is_districts]
    return render(request, "portal/retention.html", {"kept": theirs, "district": district})
