"""The page of a staff member's morning: what needs a person, oldest first."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import tool_for
from accounts.core.roles import Tool

from .. import selectors
from ..board import board as board_now


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    """Everything over all districts that goes no further unless somebody acts; empty is the best."""
    tool_for(request.user, Tool.INGEST_HISTORY)
    return render(request, "ingest/board.html", {"board": board_now(), "loaded": selectors.loaded_lately()})
