"""Pages about keys: a district's Technical Settings, and Propagation for ops."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import district_for, tool_for
from accounts.core.roles import Right, Tool
from accounts.models import District, User
from hosts.models import Host

from . import selectors, services
from .core.parse import Paste, parse_paste
from .core.publickey import PublicKey
from .forms import ScheduleForm, TechnicalSettingsForm
from .models import KeyFile, PropagationRun

# The step the journey of a key is at; the page draws them as three steps.
STEP_OPEN, STEP_NOW, STEP_DONE = "open", "now", "done"


@require_http_methods(["GET", "HEAD", "POST"])
def technical_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """Settings > Technical Settings: the SFTP account with its keys, and one Save."""
    if request.method == "POST":
        return _save(request, district_for(request.user, slug, Tool.TECHNICAL_SETTINGS, Right.WRITE))
    district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS)
    saved = request.session.pop(f"keys-saved-{district.pk}", None)
    return _page(request, district, _fresh_form(district), {"saved": saved})


def _fresh_form(district: District) -> TechnicalSettingsForm:
    account = district.sftp_account
    box = selectors.box_text(account)
    return TechnicalSettingsForm(initial={"authorized_keys": box, "version": account.key_file.version})


def _save(request: HttpRequest, district: District) -> HttpResponse:
    form = TechnicalSettingsForm(request.POST)
    if not form.is_valid():
        return _unreadable(request, district, form)
    assert isinstance(request.user, User)  # the door was opened to them
    text, version = form.cleaned_data["authorized_keys"], form.cleaned_data["version"]
    try:
        difference, paste = services.keys_save(district.sftp_account, text, seen_version=version, actor=request.user)
    except services.PasteRefused as refused:
        return _refused(request, district, form, refused)
    except services.StaleSet as stale:
        return _stale(request, district, text, stale)
    request.session[f"keys-saved-{district.pk}"] = _confirmation(difference, paste)
    return redirect("technical_settings", slug=district.slug)


def _unreadable(request: HttpRequest, district: District, form: TechnicalSettingsForm) -> HttpResponse:
    """No form of ours sends this. A private key in it is treated as one; an unreadable text is not shown again."""
    text = request.POST.get("authorized_keys", "")
    paste = parse_paste(text)
    if paste.private_key:
        return _refused(request, district, form, services.PasteRefused(paste))
    shown = _fresh_form(district).initial
    if "authorized_keys" not in form.errors:
        shown["authorized_keys"] = text
    form.data = shown
    return _page(request, district, form, {}, status=422)


def _confirmation(difference: services.Difference, paste: Paste) -> dict[str, object]:
    return {
        "total": len(paste.keys),
        "added": [_named(key) for key in difference.added],
        "removed": [_named(key) for key in difference.removed],
        "kept": [_named(key) for key in difference.kept],
        "renamed": [_named(key) for key in difference.renamed],
        "notes": [note.message for note in paste.notes],
        "is_same": difference.is_empty,
        "live_by": selectors.next_hourly_run().isoformat(),
    }


def _named(key: PublicKey) -> dict[str, str]:
    return {"label": key.label, "fingerprint": key.fingerprint, "comment": key.comment}


def _refused(
    request: HttpRequest, district: District, form: TechnicalSettingsForm, refused: services.PasteRefused
) -> HttpResponse:
    """What was typed stays, but for a private key: that text goes nowhere, not even back to its owner's screen."""
    if refused.paste.private_key:
        form = _fresh_form(district)
    return _page(request, district, form, {"problems": refused.paste.problems, "paste": refused.paste}, status=422)


def _stale(request: HttpRequest, district: District, text: str, stale: services.StaleSet) -> HttpResponse:
    form = TechnicalSettingsForm(initial={"authorized_keys": text, "version": stale.version})
    return _page(request, district, form, {"stale": stale.difference}, status=409)


def _page(
    request: HttpRequest,
    district: District,
    form: TechnicalSettingsForm,
    extra: dict[str, object],
    status: int = 200,
) -> HttpResponse:
    may_write = _may_write(request, district)
    context = {"form": form, "may_write": may_write, **_account_state(district), **extra}
    return render(request, "keys/technical_settings.html", context, status=status)


def _may_write(request: HttpRequest, district: District) -> bool:
    try:
        district_for(request.user, district.slug, Tool.TECHNICAL_SETTINGS, Right.WRITE)
    except PermissionDenied:
        return False
    return True


@require_safe
def technical_settings_state(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes by itself: steps, state on the host, cards."""
    district = district_for(request.user, slug, Tool.TECHNICAL_SETTINGS)
    return render(request, "keys/_account_state.html", _account_state(district))


def _account_state(district: District) -> dict[str, object]:
    account = district.sftp_account
    file = KeyFile.objects.get(account=account)
    cards = selectors.cards(account)
    sign_ins = selectors.sign_in_state(account)
    return {
        "district": district,
        "account": account,
        "host": account.host,
        "file": file,
        "cards": cards,
        "sign_ins": sign_ins,
        "live_by": selectors.next_hourly_run(),
        "steps": _steps(bool(cards), file, sign_ins),
        # Under way: look every 2 s. Waiting for a first sign-in: every 5 s. Else the page is still.
        "poll_seconds": 2 if file.state != KeyFile.State.ON_HOST else (5 if cards and not sign_ins.first else 0),
    }


def _steps(has_keys: bool, file: KeyFile, sign_ins: selectors.SignInState) -> tuple[str, str, str]:
    """Generate a pair, install its public half, verify you can connect."""
    is_active = file.account.district.state == District.State.ACTIVE
    is_live = has_keys and is_active and file.state == KeyFile.State.ON_HOST
    generate = STEP_DONE if has_keys else STEP_NOW
    install = STEP_DONE if is_live else (STEP_NOW if has_keys else STEP_OPEN)
    verify = STEP_DONE if sign_ins.first else (STEP_NOW if is_live else STEP_OPEN)
    return generate, install, verify


@require_safe
def propagation(request: HttpRequest) -> HttpResponse:
    """Propagation for ops: hosts, last and next run, what each run did."""
    person = tool_for(request.user, Tool.PROPAGATION)
    context = {
        **_propagation_state(),
        "form": ScheduleForm(initial={"minutes": _minutes_now()}),
        "may_write": person.has_tool(Tool.PROPAGATION, Right.WRITE),
    }
    return render(request, "keys/propagation.html", context)


@require_safe
def propagation_state(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes by itself."""
    tool_for(request.user, Tool.PROPAGATION)
    return render(request, "keys/_propagation_state.html", _propagation_state())


def _propagation_state() -> dict[str, object]:
    files = KeyFile.objects.all()
    running = selectors.unfinished_runs().first()
    waiting = files.filter(state=KeyFile.State.WAITING).count()
    return {
        "hosts": Host.objects.all(),
        "total": files.count(),
        "on_host": files.filter(state=KeyFile.State.ON_HOST).count(),
        "waiting": waiting,
        "failed": files.filter(state=KeyFile.State.FAILED).select_related("account__district")[:50],
        "failed_count": files.filter(state=KeyFile.State.FAILED).count(),
        "running": running,
        "runs": PropagationRun.objects.select_related("asked_by")[:25],
        "last_full": PropagationRun.objects.filter(state="done").exclude(cause="saved").first(),
        "next_run": selectors.next_hourly_run(),
        "poll_seconds": 2 if running or waiting else 0,
        "now": timezone.now(),
    }


def _minutes_now() -> int:
    first = selectors.next_hourly_run()
    return round((selectors.next_hourly_run(first) - first).total_seconds() / 60)


@require_safe
def propagation_run(request: HttpRequest, pk: int) -> HttpResponse:
    """One run and the accounts it failed for."""
    tool_for(request.user, Tool.PROPAGATION)
    run = get_object_or_404(PropagationRun.objects.select_related("asked_by"), pk=pk)
    failures = run.failures.select_related("account__district")
    return render(request, "keys/propagation_run.html", {"run": run, "failures": failures})


@require_POST
def propagation_now(request: HttpRequest) -> HttpResponse:
    """“Propagate now”: all accounts, at once."""
    person = tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    services.run_want(PropagationRun.Cause.NOW, actor=person)
    messages.success(request, "Asked for. All accounts are being brought to their hosts now.")
    return redirect("propagation")


@require_POST
def propagation_schedule(request: HttpRequest) -> HttpResponse:
    """Sets how often all accounts are propagated."""
    person = tool_for(request.user, Tool.PROPAGATION, Right.WRITE)
    form = ScheduleForm(request.POST)
    if not form.is_valid():
        context = {**_propagation_state(), "form": form, "may_write": True}
        return render(request, "keys/propagation.html", context, status=422)
    services.hourly_set(form.cleaned_data["minutes"], actor=person)
    messages.success(request, f"Saved. The next run over all accounts starts at {_clock(selectors.next_hourly_run())}.")
    return redirect("propagation")


def _clock(moment: object) -> str:
    return timezone.localtime(moment).strftime("%H:%M %Z")  # type: ignore[arg-type]
