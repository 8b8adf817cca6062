"""Schedules and workers: are the portal's own parts at work? For ops, what is wrong first."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool

from .operations import standing


@require_safe
def operations(request: HttpRequest) -> HttpResponse:
    """The page at once; the workers are asked a moment later, since that takes two seconds."""
    return render(request, "portal/operations.html", _context(request, ask_workers=False))


@require_safe
def operations_state(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "portal/_operations_body.html", _context(request, ask_workers=True))


def _context(request: HttpRequest, *, ask_workers: bool) -> dict[str, object]:
    person = tool_for(request.user, Tool.PROPAGATION)
    return {
        "standing": standing(ask_workers=ask_workers),
        "may_write": person.has_tool(Tool.PROPAGATION, Right.WRITE),
        "is_asked": ask_workers,
    }
