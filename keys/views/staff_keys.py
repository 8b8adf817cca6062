"""Keys of all districts for the vendor's staff: which two districts share, which were lost, which to look at."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.access import tool_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in
from accounts.models import User

from .. import selectors, services
from ..blocklist import blocklist_state
from ..forms import DecisionForm
from ..models import AccountKey, LostKey, SharedKeyRequest

# A page is read by people; what is beyond stands in the count.
MOST_ROWS = 100
LEAKING_TYPE = "ecdsa-sha2-nistp521"


@dataclass(frozen=True, slots=True)
class Asked:
    """A district's wish for a key that others have: `users` have it now, `losers` have reported it lost.

    `is_saved`: the district has it, and it works there.
    """

    request: SharedKeyRequest
    users: tuple[AccountKey, ...]
    losers: tuple[LostKey, ...]
    is_saved: bool
    form: DecisionForm


@require_safe
def staff_keys(request: HttpRequest) -> HttpResponse:
    """What waits for staff, then what is decided, marked or worth a look."""
    return _page(request, tool_for(request.user, Tool.KEYS))


@require_POST
def staff_keys_decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Allows or declines one shared key."""
    person = tool_for(request.user, Tool.KEYS, Right.WRITE)
    asked = get_object_or_404(SharedKeyRequest.objects.select_related("account__district"), pk=pk)
    form = _decision_form(asked, request)
    if not form.is_valid():
        return _page(request, person, form, asked)
    fresh_sign_in(request, reverse("staff_keys"))
    is_allowed = form.cleaned_data["decision"] == "allow"
    said = {"reason": form.given_reason, "seen": form.cleaned_data["seen"], "confirmed": form.cleaned_data["confirmed"]}
    try:
        services.shared_key_decide(asked, allow=is_allowed, actor=person, **said)
    except services.ShutOut as told:
        form.refuse(told, asked.account.username)
        return _page(request, person, form, asked)
    except services.AlreadyDecided:
        messages.warning(request, "Somebody else has decided this in the meantime. Nothing was changed.")
    else:
        word = "allowed" if is_allowed else "declined"
        messages.success(request, f"{word.capitalize()} for {asked.account.district.name}. They were told why.")
    return redirect("staff_keys")


def _decision_form(asked: SharedKeyRequest, request: HttpRequest | None = None) -> DecisionForm:
    posted = request.POST if request else None
    ids, shown = f"asked-{asked.pk}-%s", {"seen": asked.state}
    form = DecisionForm(posted, is_vendors=True, auto_id=ids, initial=shown, username=asked.account.username)
    form.fields["reason"].help_text = "The district reads it."
    return form


def _page(
    request: HttpRequest, person: User, form: DecisionForm | None = None, refused: SharedKeyRequest | None = None
) -> HttpResponse:
    requests = SharedKeyRequest.objects.select_related("account__district", "asked_by", "decided_by")
    is_waiting = {"state": SharedKeyRequest.State.WAITING}
    waiting = list(requests.filter(**is_waiting)[:MOST_ROWS])
    decided = list(requests.exclude(**is_waiting).order_by("-decided")[:MOST_ROWS])
    sharers = selectors.sharers_of(row.fingerprint for row in (*waiting, *decided))

    def asked(rows: list[SharedKeyRequest]) -> list[Asked]:
        return [_asked_one(row, sharers[row.fingerprint], form if row == refused else None) for row in rows]

    lost = selectors.lost_elsewhere()
    troubled = selectors.troubled_keys()
    leaking = selectors.keys_of_type(LEAKING_TYPE)
    context = {
        "waiting": asked(waiting),
        "decided": asked(decided),
        "lost": lost[:MOST_ROWS],
        "lost_count": lost.count(),
        "troubled": troubled[:MOST_ROWS],
        "troubled_count": troubled.count(),
        "leaking": leaking[:MOST_ROWS],
        "leaking_count": leaking.count(),
        "blocklist": blocklist_state(),
        "form": form,
        "may_write": person.has_tool(Tool.KEYS, Right.WRITE),
    }
    return render(request, "keys/staff_keys.html", context, status=422 if form else 200)


def _asked_one(row: SharedKeyRequest, sharers: list[AccountKey | LostKey], form: DecisionForm | None) -> Asked:
    others = [one for one in sharers if one.account_id != row.account_id]
    return Asked(
        request=row,
        users=tuple(one for one in others if isinstance(one, AccountKey)),
        losers=tuple(one for one in others if isinstance(one, LostKey)),
        is_saved=any(isinstance(one, AccountKey) and not one.disabled for one in sharers if one not in others),
        form=form or _decision_form(row),
    )
