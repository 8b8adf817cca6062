"""The page of a staff member's morning: what needs a person, oldest first."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts import exporting
from accounts.access import tool_for
from accounts.core.roles import Tool

from .. import selectors
from ..board import board as board_now
from ..tables import MATTER_COLUMNS


@require_safe
def board(request: HttpRequest) -> HttpResponseBase:
    """Everything over all districts that goes no further unless somebody acts; empty is the best."""
    tool_for(request.user, Tool.INGEST_HISTORY)
    if exporting.is_asked(request):
        return exporting.csv_download("needs-a-person", MATTER_COLUMNS, board_now(whole=True).matters)
    return render(request, "ingest/board.html", {"board": board_now(), "loaded": selectors.loaded_lately()})
