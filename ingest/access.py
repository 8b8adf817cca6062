"""The doors to an epoch, and to files that were only checked."""

from django.contrib.auth.models import AnonymousUser
from django.http import Http404

from accounts.access import district_for
from accounts.core.roles import Right, Tool
from accounts.models import User

from .models import Epoch, Trial


def epoch_for(user: User | AnonymousUser, slug: str, pk: int, right: Right = Right.READ) -> Epoch:
    """The epoch of that district, if `user` may use its uploads with `right`. Raises Http404 or PermissionDenied."""
    district = district_for(user, slug, Tool.UPLOADS, right)
    found = Epoch.objects.select_related("district", "account__host", "format_by").filter(district=district, pk=pk)
    epoch = found.first()
    if epoch is None:
        raise Http404
    return epoch


def trial_for(user: User | AnonymousUser, slug: str, pk: int, right: Right = Right.READ) -> Trial:
    """What that district had checked, if `user` is one of its people. Raises Http404 or PermissionDenied."""
    district = district_for(user, slug, Tool.TRIALS, right)
    trial = Trial.objects.select_related("district", "asked_by").filter(district=district, pk=pk).first()
    if trial is None:
        raise Http404
    return trial
