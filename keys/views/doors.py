"""Who may do what on the pages of one account, and who then did it."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.access import district_for, role_in
from accounts.core.roles import STAFF_ROLES, Right, Tool, may
from accounts.models import District, User
from accounts.origin import address_of

from ..models import AccountKey, FoundLine, LostKey
from ..services import KeyGone
from ..sets import By


def box_for(user: User | AnonymousUser, slug: str) -> District:
    """The district whose set of keys this person may replace: that adds and deletes. Raises as `district_for`."""
    district_for(user, slug, Tool.TECHNICAL_SETTINGS, Right.DELETE)
    return district_for(user, slug, Tool.TECHNICAL_SETTINGS, Right.ADD)


def key_for(user: User | AnonymousUser, slug: str, pk: int, right: Right) -> AccountKey:
    """The key, if this person has `right` there. Raises as `district_for`, or KeyGone if the account has it not."""
    district = district_for(user, slug, Tool.TECHNICAL_SETTINGS, right)
    key = AccountKey.objects.select_related("added_by").filter(account=district.sftp_account, pk=pk).first()
    if key is None:
        raise KeyGone
    # The district as the door gave it, so that nothing is read twice.
    key.account = district.sftp_account
    key.account.district = district
    return key


def lost_for(user: User | AnonymousUser, slug: str, pk: int) -> LostKey:
    """A key that was reported lost, for whoever may read the account's settings. Raises as `district_for`."""
    district = district_for(user, slug, Tool.TECHNICAL_SETTINGS)
    lost = LostKey.objects.select_related("account__district", "key_set__actor")
    found = lost.filter(account=district.sftp_account, pk=pk).first()
    if found is None:
        raise Http404
    return found


def found_for(user: User | AnonymousUser, slug: str, pk: int, right: Right) -> tuple[District, FoundLine]:
    """A line that was taken out of this account's file on its host, and its district. Raises as `district_for`."""
    district = district_for(user, slug, Tool.TECHNICAL_SETTINGS, right)
    found = FoundLine.objects.filter(account=district.sftp_account, pk=pk).first()
    if found is None:
        raise Http404
    # The district as the door gave it, so that nothing is read twice.
    found.account = district.sftp_account
    found.account.district = district
    return district, found


def key_page(right: Right) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """A page of one key: opens the door, and says so plainly if the key was removed in the meantime."""

    def wrap(view: Callable[[HttpRequest, AccountKey], HttpResponse]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def opened(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
            try:
                return view(request, key_for(request.user, slug, pk, right))
            except KeyGone:
                district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS)
                return render(request, "keys/key_gone.html", {"district": district}, status=404)

        return opened

    return wrap


def by_person(request: HttpRequest, reason: str = "") -> By:
    """Who asks, from which address, and why."""
    assert isinstance(request.user, User)  # the door was opened to them
    return By(request.user, address_of(request), reason)


def is_vendors(user: User | AnonymousUser, district: District) -> bool:
    """Whether this is one of the vendor's people, who must say why they change a district's keys."""
    return role_in(user, district) in STAFF_ROLES


def rights_shown(user: User | AnonymousUser, district: District) -> dict[str, bool]:
    """Which links and buttons a page shows this person. What they lead to asks at its own door."""
    role = role_in(user, district)
    is_open = role is not None and district.state == District.State.ACTIVE
    rights = {right for right in Right if is_open and role and may(role, Tool.TECHNICAL_SETTINGS, right)}
    return {
        "may_save": {Right.ADD, Right.DELETE} <= rights,
        "may_edit": Right.WRITE in rights,
        "may_replace": Right.ADD in rights,
        "may_remove": Right.DELETE in rights,
    }
