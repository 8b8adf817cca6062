"""The pages about held nights: who sees what, who may decide, and that what was typed is kept when it is refused."""

import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, District, User
from ingest.allowances import now_in
from ingest.models import BlackoutDays, Epoch, ExpectedArrival, GuardState, HoldNote, LimitRaise, Record, StandingLimit
from tests.factories import PASSWORD
from tests.signing_in import fresh

from . import epochs
from .test_guarding import FEW, FOURTH, FULL, THIRD, active, state
from .test_undos import SECOND
from .uploading import NEXT_NIGHT, NIGHT, home, night, process


def client_of(email: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(email=email))
    return fresh(client)


@pytest.fixture
def support(district: District) -> Client:
    return client_of("support@vendor.example")


@pytest.fixture
def dana(district: District) -> Client:
    return client_of("dana@smithville.example")


@pytest.fixture
def held(district: District) -> Epoch:
    night(district, NIGHT, FULL)
    return night(district, NEXT_NIGHT, FEW)


def page(client: Client, name: str, epoch: Epoch) -> str:
    answer = client.get(reverse(name, args=[epoch.district.slug, epoch.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def decide(client: Client, epoch: Epoch, act: str, **told: str) -> tuple[int, str]:
    """Sends the form as the page gave it."""
    shown = client.get(reverse("epoch", args=[epoch.district.slug, epoch.pk])).context
    seen = {name: shown["decision_form"][name].value() for name in ("content", "state")}
    data = {**seen, "act": act, "reason": "They closed a school.", **told}
    answer = client.post(reverse("epoch_decide", args=[epoch.district.slug, epoch.pk]), data, follow=True)
    return answer.status_code, answer.content.decode()


def test_staff_see_why_what_would_change_and_what_each_act_does(support: Client, held: Epoch) -> None:
    night(held.district, THIRD, FULL)
    told = page(support, "epoch", held)
    for words in (
        "Why it is held",
        "20 of 40 records (50 %)",
        "What would change",
        "Some of these records",
        "Approve once",
        "Discard",
        "Skip to the newest",
        "Ask the district",
        "this night is then compared with it",
    ):
        assert words in told, words


def test_of_a_night_with_errors_it_is_told_that_it_would_be_held_once_they_are_mended(
    support: Client, district: District
) -> None:
    night(district, NIGHT, FULL)
    spoilt = {name: content + b'"never closed' for name, content in FEW.items()}
    failed = night(district, NEXT_NIGHT, spoilt)
    assert failed.state == Epoch.State.FAILED
    told = page(support, "epoch", failed)
    assert "Would be held" in told
    assert "It was held" not in told


def test_the_district_sees_the_same_and_no_button_of_staff(dana: Client, held: Epoch) -> None:
    told = page(dana, "epoch", held)
    assert "Why it is held" in told
    assert "send the right ones in a new epoch" in told
    assert "Your answer" in told
    for words in ("Approve once", "epoch_decide", "/decide/", "/process/"):
        assert words not in told, words


def test_a_viewer_reads_and_does_not_answer(district: District, held: Epoch) -> None:
    dana = User.objects.get(email="dana@smithville.example")
    dana.memberships.update(role="district viewer")
    told = page(client_of("dana@smithville.example"), "epoch", held)
    assert "Why it is held" in told
    assert "Your answer" not in told


def test_the_page_of_a_held_night_shows_no_value_of_a_student(dana: Client, support: Client, held: Epoch) -> None:
    personal = [one.name for one in epochs.STUDENTS.tables[0].kept_fields if one.personal]
    values = {record.data.get(name, "") for record in Record.objects.all() for name in personal}
    for client in (dana, support):
        told = page(client, "epoch", held)
        assert not [value for value in values if len(value) > 4 and f">{value}<" in told]


def test_a_night_is_approved_on_its_page(support: Client, held: Epoch) -> None:
    status, told = decide(support, held, "approve")
    assert status == 200
    assert "Applied once, approved by" in told
    process(held.district)
    assert (state(NEXT_NIGHT), active()) == ("loaded", 20)
    assert "They closed a school." in page(support, "epoch", held)


@pytest.mark.parametrize("missing", ["act", "reason"])
def test_a_decision_without_a_choice_or_a_word_keeps_what_was_typed(support: Client, held: Epoch, missing: str) -> None:
    status, told = decide(support, held, **{"act": "discard", "reason": "Half a file.", missing: ""})
    assert status == 422
    assert "Nothing was decided" in told
    assert ("Half a file." in told) == (missing != "reason")
    assert ('value="discard"' in told and "checked" in told) == (missing != "act")
    assert state(NEXT_NIGHT) == "held"


def test_an_act_that_is_none_is_refused(support: Client, held: Epoch) -> None:
    assert decide(support, held, "release")[0] in (200, 422)
    assert decide(support, held, "explode")[0] == 422
    assert state(NEXT_NIGHT) == "held"


def test_whoever_comes_second_reads_who_was_quicker(support: Client, held: Epoch) -> None:
    stale = support.get(reverse("epoch", args=[held.district.slug, held.pk])).context["decision_form"]
    decide(support, held, "discard", reason="Half a file.")
    data = {"act": "approve", "reason": "x", "content": stale["content"].value(), "state": stale["state"].value()}
    answer = support.post(reverse("epoch_decide", args=[held.district.slug, held.pk]), data, follow=True)
    assert "Somebody was quicker" in answer.content.decode()
    process(held.district)
    assert (state(NEXT_NIGHT), active()) == ("discarded", 40)


def test_question_and_answer_stand_on_both_pages(support: Client, dana: Client, held: Epoch) -> None:
    decide(support, held, "ask", reason="Did <Oak> close?")
    assert "Did &lt;Oak&gt; close?" in page(dana, "epoch", held)
    place = reverse("epoch_answer", args=[held.district.slug, held.pk])
    assert dana.post(place, {"answer": ""}).status_code == 422
    assert dana.post(place, {"answer": "Yes, in June."}).status_code == 302
    assert "Yes, in June." in page(support, "epoch", held)
    assert HoldNote.objects.count() == 2


def test_a_held_night_stands_on_top_of_the_history_and_on_the_districts_home(
    support: Client, dana: Client, held: Epoch
) -> None:
    for number in range(3):
        night(held.district, f"2026112{number + 3}-020000", FULL)
    shown = support.get(reverse("ingest_history"))
    assert shown.context["table"].page.object_list[0].record == held
    assert "1 night is held." in " ".join(shown.content.decode().split())
    home = dana.get(reverse("district_home", args=[held.district.slug])).content.decode()
    assert "Your files are held: a person has to look at them." in home


def test_a_night_behind_names_the_one_before_it(dana: Client, held: Epoch) -> None:
    told = page(dana, "epoch", night(held.district, THIRD, FULL))
    assert NEXT_NIGHT in told
    assert "It waits" in told


def test_a_night_that_failed_shows_its_likely_cause(dana: Client, district: District) -> None:
    night(district, NIGHT, FULL)
    text = FULL["students.csv"]
    epoch = night(district, NEXT_NIGHT, {"students.csv": text[: len(text) // 2]})
    assert "The likely cause" in page(dana, "epoch", epoch)


# --- Taking back -------------------------------------------------------------------------------------------------


def test_a_night_is_taken_back_on_its_page_and_the_district_released(
    support: Client, dana: Client, district: District
) -> None:
    night(district, NIGHT, FULL)
    last = night(district, NEXT_NIGHT, SECOND)
    assert "Take it back" in page(support, "epoch", last)
    assert "Take it back" not in page(dana, "epoch", last)
    place = reverse("epoch_undo", args=[district.slug, last.pk])
    form = support.get(place).context["form"]
    refused = support.post(place, {"version": form["version"].value(), "reason": ""})
    assert (refused.status_code, active()) == (422, 43)
    support.post(place, {"version": form["version"].value(), "reason": "A test."})
    assert (state(NEXT_NIGHT), active()) == ("undone", 40)
    for client, has_button in ((support, True), (dana, False)):
        shown = client.get(reverse("uploads", args=[district.slug])).content.decode()
        assert "Nothing is applied for now" in shown
        assert ("Release this district" in shown) == has_button
    assert "until you release it" in support.get(reverse("ingest_history")).content.decode()
    release = reverse("district_release", args=[district.slug])
    support.post(release, {"reason": ""})
    assert GuardState.objects.get().stopped
    support.post(release, {"reason": "Sorted out."})
    assert not GuardState.objects.get().stopped


def test_a_large_undo_has_to_be_seen(support: Client, district: District) -> None:
    first = night(district, NIGHT, FULL)
    place = reverse("epoch_undo", args=[district.slug, first.pk])
    shown = support.get(place)
    data = {"version": shown.context["form"]["version"].value(), "reason": "A test."}
    assert "This changes more than a night may" in shown.content.decode()
    assert support.post(place, data).status_code == 422
    assert active() == 40
    assert support.post(place, {**data, "over": "on"}).status_code == 302
    assert active() == 0


# --- A sign-in that is not fresh -----------------------------------------------------------------------------------


@pytest.fixture
def late(support: Client) -> Client:
    """A browser of staff that was left open for longer than a sign-in is fresh."""
    return fresh(support, seconds_ago=301)


def given_later(client: Client, asked: HttpResponse) -> HttpResponse:
    """The answer to the password, which was asked for in `asked`."""
    following = parse_qs(urlsplit(asked.url).query)["next"][0]
    return client.post(asked.url, {"password": PASSWORD, "next": following})


def not_given(client: Client, asked: HttpResponse) -> HttpResponse:
    """The page to which the page that asks for the password leads back."""
    found = re.search(r'href="([^"]+)">Go back without saving', client.get(asked.url).content.decode())
    assert found
    answer = client.get(found[1])
    assert answer.status_code == 200
    assert "What you typed is still here" in answer.content.decode()
    return answer


def test_a_decision_waits_for_the_password_and_then_goes_on_by_itself(late: Client, held: Epoch) -> None:
    shown = late.get(reverse("epoch", args=[held.district.slug, held.pk])).context["decision_form"]
    data = {name: shown[name].value() for name in ("content", "state")}
    data |= {"act": "approve", "reason": "They closed a school."}
    place = reverse("epoch_decide", args=[held.district.slug, held.pk])
    asked = late.post(place, data)
    assert state(NEXT_NIGHT) == "held"
    back = not_given(late, asked)
    form = back.context["decision_form"]
    assert (form["act"].value(), form["reason"].value()) == ("approve", "They closed a school.")
    assert state(NEXT_NIGHT) == "held"
    done = given_later(late, late.post(place, data))
    assert (done.status_code, done.url) == (302, reverse("epoch", args=[held.district.slug, held.pk]))
    process(held.district)
    assert (state(NEXT_NIGHT), active()) == ("loaded", 20)


def test_what_the_decider_typed_is_not_shown_to_the_district(late: Client, dana: Client, held: Epoch) -> None:
    late.post(reverse("epoch_decide", args=[held.district.slug, held.pk]), {"act": "approve", "reason": "Secretly."})
    shown = dana.get(f"{reverse('epoch', args=[held.district.slug, held.pk])}?typed")
    assert "Secretly." not in shown.content.decode()


def test_taking_back_and_releasing_wait_for_the_password_too(late: Client, district: District) -> None:
    night(district, NIGHT, FULL)
    last = night(district, NEXT_NIGHT, SECOND)
    place = reverse("epoch_undo", args=[district.slug, last.pk])
    data = {"version": late.get(place).context["form"]["version"].value(), "reason": "A test."}
    back = not_given(late, late.post(place, data))
    assert back.context["form"]["reason"].value() == "A test."
    assert (state(NEXT_NIGHT), active()) == ("loaded", 43)
    given_later(late, late.post(place, data))
    assert (state(NEXT_NIGHT), active()) == ("undone", 40)
    fresh(late, seconds_ago=301)
    release = reverse("district_release", args=[district.slug])
    back = not_given(late, late.post(release, {"reason": "Sorted out."}))
    assert back.context["release_form"]["reason"].value() == "Sorted out."
    assert GuardState.objects.get().stopped
    given_later(late, late.post(release, {"reason": "Sorted out."}))
    assert not GuardState.objects.get().stopped


# --- Limits, blackouts, expected arrivals, records ---------------------------------------------------------------


def days(name: str, first: int, last: int) -> dict[str, str]:
    today = timezone.localdate()
    return {f"{name}-first": f"{today + timedelta(days=first)}", f"{name}-last": f"{today + timedelta(days=last)}"}


def send(client: Client, name: str, district: District, data: dict[str, object]) -> int:
    return client.post(reverse(name, args=[district.slug]), data).status_code


def test_limits_raises_blackouts_and_arrivals_are_set_on_one_page(support: Client, district: District) -> None:
    night(district, NIGHT, FULL)
    kind = {"what": "removed", "table": "students", "percent": "60", "floor": "5"}
    assert send(support, "guard_limit", district, {f"limit-{name}": value for name, value in kind.items()}) == 302
    raised = {f"raise-{name}": value for name, value in kind.items()} | days("raise", 0, 2)
    assert send(support, "guard_raise", district, {**raised, "raise-reason": "A new school."}) == 302
    assert send(support, "guard_blackout", district, {**days("blackout", 5, 6), "blackout-why": "We move."}) == 302
    assert send(support, "guard_arrival", district, {"arrival-by": "04:00", "arrival-days": ["0", "4"]}) == 302
    shown = support.get(reverse("guard_settings", args=[district.slug])).content.decode()
    for words in ("60.00 %", "A new school.", "We move.", "By 04:00", "Monday, Friday"):
        assert words in shown, words
    assert [model.objects.count() for model in (StandingLimit, LimitRaise, BlackoutDays, ExpectedArrival)] == [1] * 4
    assert night(district, NEXT_NIGHT, FEW).state == "loaded"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("guard_limit", {"limit-what": "removed", "limit-percent": "101", "limit-floor": "0"}),
        ("guard_limit", {"limit-what": "removed", "limit-percent": "-0.5", "limit-floor": "0"}),
        ("guard_limit", {"limit-what": "none", "limit-percent": "10", "limit-floor": "0"}),
        ("guard_limit", {"limit-what": "added", "limit-table": "no-such", "limit-percent": "1", "limit-floor": "0"}),
        ("guard_raise", {"raise-what": "added", "raise-percent": "50", "raise-floor": "1", "raise-reason": "x"}),
        ("guard_blackout", {**days("blackout", 3, 1), "blackout-why": "x"}),
        ("guard_arrival", {"arrival-by": "25:00"}),
    ],
)
def test_what_cannot_be_is_refused_and_kept(
    support: Client, district: District, name: str, data: dict[str, str]
) -> None:
    before = AuditEntry.objects.count()
    assert send(support, name, district, data) == 422
    assert AuditEntry.objects.count() == before


def test_a_record_is_found_with_a_reason_and_read_by_whoever_asked_only(support: Client, district: District) -> None:
    night(district, NIGHT, FULL)
    record = Record.objects.first()
    find = reverse("record_find", args=[district.slug])
    data = {"table": record.dataset.table, "key": record.key, "reason": "They asked."}
    assert support.post(find, {**data, "reason": ""}).status_code == 422
    assert support.post(find, {**data, "key": "no-such"}).status_code == 422
    place = support.post(find, data).url
    told = support.get(place).content.decode()
    assert record.key in told
    assert NIGHT in told
    other = User.objects.get(email="ops@vendor.example")
    other.staff_role = "support"
    other.save()
    assert client_of("ops@vendor.example").get(place).status_code == 404


# --- Judged again ------------------------------------------------------------------------------------------------


def raised(client: Client, district: District, percent: str) -> str:
    today = now_in(district).date()
    told = {"what": "removed", "table": "", "percent": percent, "floor": "5", "first": today, "last": today}
    data = {f"raise-{name}": value for name, value in {**told, "reason": "A school closed."}.items()}
    answer = client.post(reverse("guard_raise", args=[district.slug]), data, follow=True)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_where_a_limit_was_raised_the_held_night_that_would_pass_is_offered(support: Client, held: Epoch) -> None:
    place = reverse("epoch_judge", args=[held.district.slug, held.pk])
    told = raised(support, held.district, "40")
    assert "would not pass by the limits as they are today either: 20 of 40 records (50 %)" in told
    assert place not in told
    assert place not in page(support, "epoch", held)
    LimitRaise.objects.all().delete()  # of two in the same place the stricter counts
    told = raised(support, held.district, "60")
    assert "1 held night would pass now" in told
    assert place in told
    assert "It would pass now" in page(support, "epoch", held)
    process(held.district)
    assert state(NEXT_NIGHT) == "held"


@pytest.mark.parametrize("shown_on", ["epoch", "guard_settings"])
def test_one_click_has_it_judged_again_from_either_page(support: Client, held: Epoch, shown_on: str) -> None:
    raised(support, held.district, "60")
    args = [held.district.slug, held.pk] if shown_on == "epoch" else [held.district.slug]
    anew = support.get(reverse(shown_on, args=args)).context["anew"]
    data = {"content": anew.judgement.content, "state": anew.judgement.against}
    answer = support.post(reverse("epoch_judge", args=[held.district.slug, held.pk]), data, follow=True)
    assert "It is compared once more" in answer.content.decode()
    # Nothing is before it, so nobody has to decide about anything.
    assert "Its turn has come" in answer.content.decode()
    assert "until our staff have decided" not in answer.content.decode()
    process(held.district)
    assert (state(NEXT_NIGHT), active()) == ("loaded", 20)


def test_a_page_from_before_has_nothing_judged(support: Client, held: Epoch) -> None:
    raised(support, held.district, "60")
    place = reverse("epoch_judge", args=[held.district.slug, held.pk])
    answer = support.post(place, {"content": "x", "state": "y"}, follow=True)
    assert "has been compared again since you opened the page" in answer.content.decode()
    assert state(NEXT_NIGHT) == "held"


def test_the_district_and_ops_are_not_offered_it(support: Client, dana: Client, held: Epoch) -> None:
    raised(support, held.district, "60")
    for client in (dana, client_of("ops@vendor.example")):
        assert "/judge/" not in page(client, "epoch", held)
    limits = client_of("ops@vendor.example").get(reverse("guard_settings", args=[held.district.slug]))
    assert "1 held night would pass now" in " ".join(limits.content.decode().split())
    assert "/judge/" not in limits.content.decode()


def test_a_night_discarded_while_it_waited_can_be_looked_at_by_everybody(
    support: Client, dana: Client, held: Epoch
) -> None:
    behind = night(held.district, THIRD, FULL)
    night(held.district, FOURTH, epochs.students(rows=41))
    decide(support, held, "skip")
    process(held.district)
    behind.refresh_from_db()
    assert behind.state == Epoch.State.DISCARDED
    for client in (support, dana):
        assert "Discarded in favour of" in page(client, "epoch", behind)
    result = home(held.district) / "upload-processed" / behind.archive_name / "result.json"
    assert json.loads(result.read_text())["guard"] is None


def test_in_a_blackout_the_form_says_why_less_can_be_done(support: Client, held: Epoch) -> None:
    night(held.district, THIRD, FULL)
    today = now_in(held.district).date()
    BlackoutDays.objects.create(district=held.district, first=today, last=today, why="x")
    told = page(support, "epoch", held)
    assert "is a blackout: nothing is applied" in told
    assert "Approve once" not in told
    assert "Ask the district" in told


@pytest.mark.parametrize("told", [{"purged": timezone.now()}, {"state": "stuck", "step": "log", "finished": None}])
def test_no_page_says_that_files_lie_where_they_do_not(
    support: Client, district: District, told: dict[str, object]
) -> None:
    epoch = night(district, NIGHT, FULL)
    lies_in = f'<span class="mono">/upload-processed/{NIGHT}/</span>'
    assert lies_in in page(support, "epoch", epoch)
    Epoch.objects.filter(pk=epoch.pk).update(**told)
    assert lies_in not in page(support, "epoch", epoch)
