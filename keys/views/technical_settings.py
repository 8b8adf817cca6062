"""Settings > Technical Settings: the SFTP account with the box of its keys, cards, and what was changed."""

from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import district_for
from accounts.core.roles import Right, Tool
from accounts.fresh import fresh_sign_in, typed_before
from accounts.models import District, SftpAccount
from accounts.signed_out import keeps_typed

from .. import overview, selectors, services
from ..core.errors import Problem, Refusal
from ..core.files import pasted_from
from ..core.parse import Paste, parse_paste
from ..core.policy import Policy
from ..forms import NetworksForm, TechnicalSettingsForm
from ..models import FoundLine, KeyFile
from ..policy import policy_for
from .cards import cards_of
from .confirmation import confirmation_of_change, confirmation_of_save, confirmation_shown, confirmation_taken
from .doors import box_for, by_person, is_vendors, rights_shown

# The step the journey of a key is at; the page draws them as three steps.
STEP_OPEN, STEP_NOW, STEP_DONE = "open", "now", "done"
MOST_CHANGES = 10


@dataclass(frozen=True, slots=True)
class Box:
    """What the box shows, of which version of the set, and what is wrong with it."""

    text: str
    version: object
    problems: tuple[Problem, ...] = ()
    paste: Paste = field(default_factory=Paste)
    stale: services.Difference | None = None
    shut_out: services.ShutOut | None = None


def unfit_to_keep(request: HttpRequest) -> str:
    """Why what was typed may not wait until somebody has signed in; "" if it may. Chosen files are in it by then."""
    take_file(request)
    names = sorted(set(request.POST) - {"csrfmiddlewaretoken"})
    paste = parse_paste("\n".join(request.POST[name] for name in names))
    for reason in (Refusal.PRIVATE_KEY, Refusal.PASTE_TOO_LONG):
        if told := next((problem for problem in paste.problems if problem.code == reason.code), None):
            return told.message
    return ""


@keeps_typed(unfit_to_keep)
@require_http_methods(["GET", "HEAD", "POST"])
def technical_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """The page, and its one Save."""
    if request.method == "POST":
        return _save(request, box_for(request.user, slug))
    district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS)
    typed = typed_before(request)
    if typed and not rights_shown(request.user, district)["may_save"]:
        typed = None
    box = Box(str(typed.get("authorized_keys", "")), _version(typed, district)) if typed else _saved_box(district)
    return _page(request, district, _form(request, district, typed), box)


def _form(request: HttpRequest, district: District, typed: QueryDict | None) -> TechnicalSettingsForm:
    return TechnicalSettingsForm(typed, is_vendors=is_vendors(request.user, district))


def _version(typed: QueryDict, district: District) -> str:
    """The version of the set that the form showed; of today's, if it was sent without one."""
    return str(typed.get("version") or district.sftp_account.key_file.version)


def _saved_box(district: District) -> Box:
    account = district.sftp_account
    return Box(selectors.box_text(account), account.key_file.version)


def _save(request: HttpRequest, district: District) -> HttpResponse:
    """Whatever may not be kept is answered first; only then is a sign-in asked for, which keeps the text meanwhile."""
    take_file(request)
    text, account = request.POST.get("authorized_keys", ""), district.sftp_account
    form = _form(request, district, request.POST)
    try:
        paste = services.keys_read(account, text)
    except services.PasteRefused as refused:
        return _refused(request, district, form, text, refused.paste)
    if not form.is_valid():
        return _page(request, district, form, Box(text, account.key_file.version), status=422)
    fresh_sign_in(request)
    return _save_read(request, district, form, paste)


def take_file(request: HttpRequest) -> None:
    """Puts chosen files into the field of the box as text, for browsers without script."""
    chosen = request.FILES.getlist("key_file")
    if not chosen:
        return
    posted = request.POST.copy()
    most = Policy().maximum_paste_bytes
    text = posted.get("authorized_keys", "")
    for file in chosen:
        # More than is ever read, in any encoding: the reader finds it too long by itself.
        if len(text) <= most:
            text = f"{text.rstrip()}\n{pasted_from(file.read(4 * most + 4))}".lstrip()
    posted["authorized_keys"] = text
    request.POST = posted  # type: ignore[assignment]


def _save_read(request: HttpRequest, district: District, form: TechnicalSettingsForm, paste: Paste) -> HttpResponse:
    account, sent = district.sftp_account, form.cleaned_data
    text, version, confirmed = sent["authorized_keys"], sent["version"], sent["confirmed"]
    by = by_person(request, form.given_reason)
    try:
        difference, paste = services.keys_save(account, text, seen_version=version, by=by, confirmed=confirmed)
    except services.StaleSet as stale:
        return _page(request, district, form, Box(text, stale.version, stale=stale.difference), status=409)
    except services.ShutOut as told:
        return _page(request, district, form, Box(text, version, shut_out=told), status=422)
    except services.KeyElsewhere as elsewhere:
        box = Box(text, version, problems=elsewhere_told(elsewhere, paste), paste=paste)
        return _page(request, district, form, box, status=422)
    confirmation_shown(request, account, confirmation_of_save(difference, paste))
    return redirect("technical_settings", slug=district.slug)


def elsewhere_told(elsewhere: services.KeyElsewhere, paste: Paste) -> tuple[Problem, ...]:
    """What a district reads of keys that are in use elsewhere or were lost, each beside its line."""
    lines = dict(zip(paste.keys, paste.lines, strict=True))
    return tuple(
        services.refusal(
            key, lines.get(key), is_lost=key in elsewhere.lost, declined=elsewhere.declined.get(key.fingerprint)
        )
        for key in elsewhere.keys
    )


def _refused(
    request: HttpRequest, district: District, form: TechnicalSettingsForm, text: str, paste: Paste
) -> HttpResponse:
    """What was typed stays, but for a private key: that text goes nowhere, not even back to its owner's screen."""
    saved = _saved_box(district)
    shown = saved.text if paste.private_key else text
    return _page(request, district, form, Box(shown, saved.version, paste.problems, paste), status=422)


def _page(
    request: HttpRequest, district: District, form: TechnicalSettingsForm, box: Box, status: int = 200
) -> HttpResponse:
    account = district.sftp_account
    found_lines = list(overview.found_of(account))
    state = account_state(request, district)
    context = {
        **state,
        "form": form,
        "box": box,
        "saved": confirmation_taken(request, account) if request.method != "POST" else None,
        "changes": selectors.changes_of(account)[:MOST_CHANGES],
        "requests": account.shared_key_requests.all(),
        "added": {card.key.fingerprint for card in state["cards"]},
        "lost_keys": account.lost_keys.all(),
        "found_lines": found_lines,
        "found_waiting": any(line.state == FoundLine.State.KEPT for line in found_lines),
    }
    return render(request, "keys/technical_settings.html", context, status=status)


@require_POST
def technical_settings_check(request: HttpRequest, slug: str) -> HttpResponse:
    """What the box would come to if it were saved now. Nothing is stored, nothing of a private key is shown again."""
    district = box_for(request.user, slug)
    paste = parse_paste(request.POST.get("authorized_keys", ""), policy_for(district.sftp_account))
    context = {"paste": paste, "verdict": verdict_of(paste), "loose_notes": paste.loose_notes}
    return render(request, "keys/_verdict.html", context)


def verdict_too_long(request: HttpRequest) -> HttpResponse:
    """The same for a text that is so long that the web framework would not even read it."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    problem = Refusal.PASTE_TOO_LONG.problem(length=length, most=Policy().maximum_paste_bytes)
    paste = Paste(problems=(problem,))
    return render(request, "keys/_verdict.html", {"paste": paste, "verdict": ()})


@dataclass(frozen=True, slots=True)
class Verdict:
    """A key found while pasting: its line and what could be said about it."""

    line: int
    label: str
    fingerprint: str
    comment: str
    notes: tuple[Problem, ...]


def verdict_of(paste: Paste) -> tuple[Verdict, ...]:
    """Each key of a paste with the notes of its line."""
    return tuple(
        Verdict(line, key.label, key.fingerprint, key.comment, tuple(n for n in paste.notes if n.line == line))
        for key, line in zip(paste.keys, paste.lines, strict=True)
    )


@require_safe
def technical_settings_state(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes by itself: steps, state on the host, cards."""
    district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS)
    return render(request, "keys/_account_state.html", account_state(request, district))


def account_state(request: HttpRequest, district: District) -> dict[str, Any]:
    """What the changing part of the page shows."""
    account = district.sftp_account
    file = KeyFile.objects.get(account=account)
    live_by = selectors.next_hourly_run()
    is_shut_off = selectors.is_shut_off(account)
    cards = cards_of(account, file, live_by, is_shut_off=is_shut_off)
    sign_ins = selectors.sign_in_state(account)
    is_waiting, is_blocked = bool(cards and not sign_ins.first), selectors.is_upload_blocked(account)
    return {
        "district": district,
        "account": account,
        "host": account.host,
        "file": file,
        "cards": cards,
        "sign_ins": sign_ins,
        "live_by": live_by,
        "is_shut_off": is_shut_off,
        "steps": _steps(district, bool(cards), file, sign_ins),
        "is_blocked": is_blocked,
        # Under way: look every 2 s. Waiting for a first sign-in, or for staff: every 5 s. Else the page is still.
        "poll_seconds": 2 if file.state != KeyFile.State.ON_HOST else (5 if is_waiting or is_blocked else 0),
        **rights_shown(request.user, district),
    }


def _steps(district: District, has_keys: bool, file: KeyFile, sign_ins: selectors.SignInState) -> tuple[str, str, str]:
    """Generate a pair, install its public half, verify you can connect."""
    is_active = district.state == District.State.ACTIVE
    is_live = has_keys and is_active and file.state == KeyFile.State.ON_HOST
    generate = STEP_DONE if has_keys else STEP_NOW
    install = STEP_DONE if is_live else (STEP_NOW if has_keys and is_active else STEP_OPEN)
    verify = STEP_DONE if sign_ins.first else (STEP_NOW if is_live else STEP_OPEN)
    return generate, install, verify


@keeps_typed(unfit_to_keep)
@require_http_methods(["GET", "HEAD", "POST"])
def technical_settings_networks(request: HttpRequest, slug: str) -> HttpResponse:
    """From where all keys of the account may sign in."""
    district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS, Right.WRITE)
    account = district.sftp_account
    is_sent = request.method == "POST"
    shown = {"networks": "\n".join(account.key_file.networks)}
    form = NetworksForm(request.POST if is_sent else typed_before(request), initial=shown, username=account.username)
    if is_sent and form.is_valid():
        fresh_sign_in(request)
        if _networks_saved(request, account, form):
            return redirect("technical_settings", slug=slug)
    context = {"district": district, "form": form}
    return render(request, "keys/account_networks.html", context, status=422 if form.errors else 200)


def _networks_saved(request: HttpRequest, account: SftpAccount, form: NetworksForm) -> bool:
    try:
        edited = services.account_networks_set(account, **form.cleaned_data, by=by_person(request))
    except services.FieldsRefused as refused:
        problems_add(form, refused)
        return False
    except services.ShutOut as told:
        form.refuse(told, account.username)
        return False
    confirmation_shown(request, account, confirmation_of_change(account, edited.made, edited.notes))
    return True


def problems_add(form: Any, refused: services.FieldsRefused) -> None:
    """Ties the problems of typed fields to these."""
    for name, problems in refused.problems.items():
        for problem in problems:
            form.add_error(name, f"{problem.message} {problem.hint}")
