"""A page for each thing that can be done with one key: rename and restrict, replace, remove, report as lost."""

from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.core.roles import Right
from accounts.fresh import fresh_sign_in, typed_before
from accounts.models import SftpAccount
from accounts.signed_out import keeps_typed
from hosts.models import SessionEnd

from .. import selectors, services
from ..core.errors import Problem
from ..core.parse import Paste
from ..forms import EditForm, RemoveForm, ReplaceForm
from ..models import AccountKey, KeyFile, KeySet, LostKey
from .cards import name_of
from .confirmation import confirmation_of_change, confirmation_shown
from .doors import by_person, is_vendors, key_page, lost_for
from .technical_settings import elsewhere_told, problems_add, take_file, unfit_to_keep

NOT_ONE = Problem(
    "one-key-wanted",
    "A replacement is exactly one key, and one that is not among your keys yet.",
    "Paste only the public key of the new pair.",
)
# A session ends a moment after its host has the new file: so long the page of a lost key goes on looking by itself.
LOOK_FOR = timedelta(seconds=60)
# The clocks of host and portal may differ a little.
SKEW = timedelta(seconds=2)


@keeps_typed(unfit_to_keep)
@require_http_methods(["GET", "HEAD", "POST"])
@key_page(Right.WRITE)
def key_edit(request: HttpRequest, key: AccountKey) -> HttpResponse:
    """Name, last day and source networks."""
    shown = {"comment": key.comment, "expires_on": key.expires_on, "networks": "\n".join(key.networks)}
    form = EditForm(_typed(request), initial=shown, username=key.account.username)
    if _is_sent(request, form):
        fresh_sign_in(request)
        if _edited(request, key, form):
            return _back(key.account)
    return _page(request, "keys/key_edit.html", key, form)


def _typed(request: HttpRequest) -> Any:
    """What the form holds: sent now, or typed before the password was asked for."""
    return request.POST if request.method == "POST" else typed_before(request)


def _is_sent(request: HttpRequest, form: forms.Form) -> bool:
    return request.method == "POST" and form.is_valid()


def _edited(request: HttpRequest, key: AccountKey, form: EditForm) -> bool:
    try:
        edited = services.key_edit(key, **form.cleaned_data, by=by_person(request))
    except services.FieldsRefused as refused:
        problems_add(form, refused)
        return False
    except services.ShutOut as told:
        form.refuse(told, key.account.username)
        return False
    confirmation_shown(request, key.account, confirmation_of_change(key.account, edited.made, edited.notes))
    return True


def _back(account: SftpAccount) -> HttpResponse:
    return redirect("technical_settings", slug=account.district.slug)


def _page(request: HttpRequest, template: str, key: AccountKey, form: Any, **told: object) -> HttpResponse:
    context = {
        "district": key.account.district,
        "account": key.account,
        "key": key,
        "name": name_of(key),
        "form": form,
        "live_by": selectors.next_hourly_run(),
        **told,
    }
    return render(request, template, context, status=422 if form.errors or told.get("is_refused") else 200)


@keeps_typed(unfit_to_keep)
@require_http_methods(["GET", "HEAD", "POST"])
@key_page(Right.ADD)
def key_replace(request: HttpRequest, key: AccountKey) -> HttpResponse:
    """A new key in place of this one; both work until the new one has signed in."""
    if request.method == "POST":
        take_file(request)
    form = ReplaceForm(_typed(request), is_vendors=is_vendors(request.user, key.account.district))
    text = str(form.data.get("authorized_keys", ""))
    if request.method != "POST":
        return _page(request, "keys/key_replace.html", key, form, box={"text": text})
    try:
        paste = services.keys_read(key.account, text)
    except services.PasteRefused as refused:
        return _replace_page(request, key, form, text, refused.paste.problems, refused.paste)
    if not form.is_valid():
        return _replace_page(request, key, form, text)
    fresh_sign_in(request)
    return _replaced(request, key, form, paste)


def _replaced(request: HttpRequest, key: AccountKey, form: ReplaceForm, paste: Paste) -> HttpResponse:
    text, days = form.cleaned_data["authorized_keys"], form.cleaned_data["days"]
    try:
        made = services.key_replace(key, text, days=days, by=by_person(request, form.given_reason))
    except services.OneKeyWanted:
        return _replace_page(request, key, form, text, (NOT_ONE,), paste)
    except services.KeyElsewhere as elsewhere:
        return _replace_page(request, key, form, text, elsewhere_told(elsewhere, paste), paste)
    confirmation_shown(request, key.account, confirmation_of_change(key.account, made, paste.notes))
    return _back(key.account)


def _replace_page(
    request: HttpRequest,
    key: AccountKey,
    form: ReplaceForm,
    text: str,
    problems: tuple[Problem, ...] = (),
    paste: Paste = Paste(),  # noqa: B008 (a frozen value)
) -> HttpResponse:
    """What was typed stays, but for a private key."""
    box = {"text": "" if paste.private_key else text, "problems": problems, "paste": paste}
    return _page(request, "keys/key_replace.html", key, form, box=box, is_refused=True)


@keeps_typed(unfit_to_keep)
@require_http_methods(["GET", "HEAD", "POST"])
@key_page(Right.DELETE)
def key_remove(request: HttpRequest, key: AccountKey) -> HttpResponse:
    """Takes one key away, after one question."""
    form = _remove_form(request, key)
    if _is_sent(request, form):
        fresh_sign_in(request)
        made = _removed(request, key, form, services.key_remove)
        if made:
            confirmation_shown(request, key.account, confirmation_of_change(key.account, made))
            return _back(key.account)
    return _page(request, "keys/key_remove.html", key, form)


@keeps_typed(unfit_to_keep)
@require_http_methods(["GET", "HEAD", "POST"])
@key_page(Right.DELETE)
def key_lost(request: HttpRequest, key: AccountKey) -> HttpResponse:
    """“This computer was lost”: the key goes at once and for ever, and the sessions it opened end."""
    form = _remove_form(request, key)
    if _is_sent(request, form):
        fresh_sign_in(request)
        made = _removed(request, key, form, services.key_lost)
        if made:
            return redirect("key_lost_told", slug=key.account.district.slug, pk=made.lost_keys.get().pk)
    return _page(request, "keys/key_lost.html", key, form)


def _remove_form(request: HttpRequest, key: AccountKey) -> RemoveForm:
    account = key.account
    vendors = is_vendors(request.user, account.district)
    form = RemoveForm(_typed(request), is_vendors=vendors, username=account.username)
    form.warning = services.shut_out(account, services.opening_without(account, key))
    if form.warning:
        form.ask()
    return form


def _removed(request: HttpRequest, key: AccountKey, form: RemoveForm, remove: Any) -> KeySet | None:
    confirmed = form.cleaned_data.get("confirmed", "")
    try:
        made: KeySet = remove(key, by=by_person(request, form.given_reason), confirmed=confirmed)
    except services.ShutOut as told:
        form.refuse(told, key.account.username)
        return None
    return made


@require_safe
def key_lost_told(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What became of the key of a lost computer: removed, confirmed by the host, its open sessions ended."""
    return render(request, "keys/lost_told.html", _lost_state(lost_for(request.user, slug, pk)))


@require_safe
def key_lost_state(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The part of that page that changes by itself."""
    return render(request, "keys/_lost_state.html", _lost_state(lost_for(request.user, slug, pk)))


def _lost_state(lost: LostKey) -> dict[str, object]:
    account = lost.account
    file = KeyFile.objects.get(account=account)
    # Our set has to wait for a decision of staff; this key need not.
    found = file.found or {}
    is_held = lost.key_set.on_host is None and bool(found)
    # An empty set stands under a name that the host no longer uses: its keys may be under another.
    is_taken_out = is_held and bool(found["fingerprints"]) and lost.fingerprint not in found["fingerprints"]
    is_gone = lost.key_set.on_host is not None or is_taken_out
    is_over = is_gone and lost.at < timezone.now() - LOOK_FOR
    return {
        "district": account.district,
        "account": account,
        "lost": lost,
        "file": file,
        "is_held": is_held,
        "is_taken_out": is_taken_out,
        "ends": _ends_of(lost),
        "live_by": selectors.next_hourly_run(),
        "poll_seconds": 0 if is_over else 1,
    }


def _ends_of(lost: LostKey) -> QuerySet[SessionEnd]:
    """The sessions that the host ended because this key was taken away, oldest first."""
    ends = SessionEnd.objects.filter(username=lost.account.username, fingerprint=lost.fingerprint)
    return ends.filter(at__gte=lost.at - SKEW).order_by("at")
