"""Is the web process alive?"""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answers when the web process serves requests; says nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")
