"""The only doors. Every view goes through one of them first; what a door does not open stays shut.

A stranger learns nothing (404, as if the thing did not exist); a colleague without the right is told so (403).
"""

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404

from .core.roles import Right, Role, Tool, may
from .models import District, Membership, User

NOT_YOURS = "Your role does not allow this. Ask an administrator of your district, or your vendor's support."
CLOSED = "This district is closed: its pages can be read, but nothing can be changed."
SUSPENDED = "This district is suspended: its pages can be read, but nothing can be changed. Ask your vendor's support."


def district_for(user: User | AnonymousUser, slug: str, tool: Tool, right: Right = Right.READ) -> District:
    """The district, if `user` may use `tool` there with `right`. Raises Http404 or PermissionDenied."""
    district = District.objects.select_related("sftp_account__host").filter(slug=slug).first()
    role = role_in(user, district) if district else None
    if district is None or role is None:
        raise Http404
    if not may(role, tool, right):
        raise PermissionDenied(NOT_YOURS)
    if district.state != District.State.ACTIVE and right is not Right.READ and tool is not Tool.DISTRICTS:
        raise PermissionDenied(CLOSED if district.state == District.State.CLOSED else SUSPENDED)
    return district


def role_in(user: User | AnonymousUser, district: District) -> Role | None:
    """What `user` is to `district`: staff by their staff role, others by membership while it is not closed."""
    if not isinstance(user, User) or not user.is_active:
        return None
    if user.staff_role:
        return Role(user.staff_role)
    if district.state == District.State.CLOSED:
        return None
    membership = Membership.objects.filter(user=user, district=district).first()
    return Role(membership.role) if membership else None


def tool_for(user: User | AnonymousUser, tool: Tool, right: Right = Right.READ) -> User:
    """The staff member, if their role gives `right` on `tool` everywhere. Raises Http404 or PermissionDenied."""
    if not isinstance(user, User) or not user.is_active or not user.staff_role:
        raise Http404
    if not user.has_tool(tool, right):
        raise PermissionDenied(NOT_YOURS)
    return user


def districts_of(user: User) -> QuerySet[District]:
    """The districts a person may enter by membership, in name order."""
    return District.objects.filter(memberships__user=user).exclude(state=District.State.CLOSED).distinct()
