"""Pages on which what happened can be read: the outbox and the audit log."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from .. import exporting
from ..access import tool_for
from ..audit import broken_lately
from ..core.roles import Tool
from ..models import AuditEntry, AuditHead, OutboxMessage
from ..tables import AUDIT_COLUMNS, AuditFilter, AuditTable, OutboxFilter, OutboxTable, table_page


@require_safe
def outbox(request: HttpRequest) -> HttpResponse:
    """Every mail the portal wrote, newest first."""
    tool_for(request.user, Tool.OUTBOX)
    chosen = OutboxFilter(request.GET, queryset=OutboxMessage.objects.select_related("district"))
    table = OutboxTable(chosen.qs)
    table_page(table, request)
    context = {"table": table, "filter": chosen, "has_mail_server": bool(settings.EMAIL_URL)}
    return render(request, "accounts/outbox.html", context)


@require_safe
def outbox_message(request: HttpRequest, pk: int) -> HttpResponse:
    """One mail as it was (or would be) sent."""
    tool_for(request.user, Tool.OUTBOX)
    return render(request, "accounts/outbox_message.html", {"message": get_object_or_404(OutboxMessage, pk=pk)})


@require_safe
def audit_log(request: HttpRequest) -> HttpResponseBase:
    """Who did what, newest first, and whether the chain is whole."""
    tool_for(request.user, Tool.AUDIT_LOG)
    chosen = AuditFilter(request.GET, queryset=AuditEntry.objects.all())
    table = AuditTable(chosen.qs)
    if exporting.is_asked(request):
        return exporting.table_download(request, "audit-log", AUDIT_COLUMNS, table)
    table_page(table, request)
    broken_at, proved_at = broken_lately()
    context = {
        "table": table,
        "filter": chosen,
        "broken_at": broken_at,
        "proved_at": proved_at,
        "total": AuditHead.objects.values_list("number", flat=True).first() or 0,
    }
    return render(request, "accounts/audit_log.html", context)
