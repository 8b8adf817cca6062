"""Files that a browser keeps instead of showing them."""

from django.http import Http404, StreamingHttpResponse

from .. import listings, selectors
from ..models import Epoch, Trial


def findings_download(owner: Epoch | Trial, name: str) -> StreamingHttpResponse:
    """The list of all findings of an epoch or trial whose door was opened; `name` is ours. Raises Http404."""
    kept = selectors.finding_list_of(owner)
    if kept is None:
        raise Http404
    headers = {"Content-Disposition": f'attachment; filename="{name}-findings.csv"'}
    return StreamingHttpResponse(listings.text(kept), content_type="text/csv; charset=utf-8", headers=headers)
