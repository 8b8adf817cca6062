"""Sign-in by another provider (OpenID Connect), against one that runs beside the tests."""

import time
from collections.abc import Iterator

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.core.linking import Pin, may_link, verified_address
from accounts.core.roles import Role
from accounts.models import AuditEntry, Membership, OutboxMessage, PinnedProvider, User
from portal import checks
from tests.factories import DistrictFactory, MembershipFactory, StaffFactory
from tests.signing_in import fresh

from .provider import SignInProvider
from .test_second_factor import code_of, half_minute_later, is_in, set_up, sign_in, told_on_commit, type_code

GO, BACK = reverse("openid_connect_login", args=["school-id"]), reverse("openid_connect_callback", args=["school-id"])
DANAS = {"sub": "dana-1", "email": "dana@smithville.example", "email_verified": True}


@pytest.fixture(scope="module")
def _running() -> Iterator[SignInProvider]:
    made = SignInProvider()
    yield made
    made.close()


@pytest.fixture
def provider(_running: SignInProvider, settings: LazySettings) -> SignInProvider:
    _running.person, _running.wrong_claims, _running.wrong_discovery = dict(DANAS), {}, {}
    _running.wrong_key, _running.algorithm = None, "RS256"
    settings.OPENID_PROVIDERS = [_running.setting()]
    return _running


@pytest.fixture
def dana(db: None) -> User:
    return MembershipFactory(user__email="dana@smithville.example").user


@pytest.fixture
def pinned(dana: User, provider: SignInProvider) -> User:
    """Dana, whose district believes the provider about her addresses."""
    pin(dana, provider)
    return dana


def pin(person: User, provider: SignInProvider, domain: str = "smithville.example") -> None:
    for membership in person.memberships.all():
        services.provider_pin(membership.district, issuer=provider.issuer, domain=domain, actor=person)


def visit(provider: SignInProvider, client: Client | None = None, **sent: str) -> Client:
    """Goes to the provider and comes back with what it says."""
    client = client or Client()
    led = client.post(GO, sent)
    assert (led.status_code, led.url.startswith(f"{provider.issuer}/authorization_endpoint?")) == (302, True)
    with told_on_commit():
        client.answer = client.get(provider.visited(led.url).removeprefix("http://localhost:8000"))
    return client


def told(client: Client) -> str:
    return client.get(client.answer.url).content.decode()


def was_refused(client: Client) -> bool:
    return not is_in(client) and client.answer.url == reverse("account_login") and not SocialAccount.objects.exists()


# --- Good --------------------------------------------------------------------------------------------------------


def test_whom_a_district_has_pinned_is_known_by_the_address_and_then_by_the_number(
    pinned: User, provider: SignInProvider
) -> None:
    assert is_in(visit(provider))
    provider.person |= {"email": "renamed@elsewhere.example", "email_verified": False}
    client = visit(provider)
    assert client.session["_auth_user_id"] == str(pinned.pk)
    assert User.objects.count() == 1
    assert AuditEntry.objects.get(action="sign-in provider connected").actor == pinned.email
    assert OutboxMessage.objects.filter(to=pinned.email, kind="account_connected").exists()


def test_what_a_provider_tells_beside_that_is_not_kept(pinned: User, provider: SignInProvider) -> None:
    provider.person |= {"name": "Dana Doe", "picture": "https://x.example/dana.png", "role": "system administrator"}
    visit(provider)
    assert set(SocialAccount.objects.get().extra_data["id_token"]) == {"iss", *DANAS}
    now = User.objects.get()
    assert (now.name, now.staff_role) == (pinned.name, "")


def test_somebody_signed_in_connects_it_themselves_and_takes_it_off(dana: User, provider: SignInProvider) -> None:
    provider.person = {"sub": "77", "email": "private@mail.example"}
    client = visit(provider, sign_in(dana), process="connect")
    assert client.answer.url == reverse("socialaccount_connections")
    assert "School ID" in told(client)
    assert is_in(visit(provider))
    client.post(reverse("socialaccount_connections"), {"account": SocialAccount.objects.get().pk})
    assert not is_in(visit(provider))
    actions = AuditEntry.objects.filter(action__startswith="sign-in provider").order_by("number")
    assert [one.action for one in actions] == ["sign-in provider connected", "sign-in provider taken off"]


def test_connecting_wants_a_fresh_sign_in(dana: User, provider: SignInProvider) -> None:
    client = visit(provider, fresh(sign_in(dana), seconds_ago=301), process="connect")
    assert client.answer.url.startswith(reverse("account_reauthenticate"))
    assert not SocialAccount.objects.exists()


# --- Refused -----------------------------------------------------------------------------------------------------


def test_without_a_pin_nobody_is_known_by_their_address(dana: User, provider: SignInProvider) -> None:
    client = visit(provider)
    assert was_refused(client)
    assert "Nobody here signs in with that account" in told(client)


@pytest.mark.parametrize(
    "person",
    [
        {**DANAS, "email_verified": False},
        {**DANAS, "email_verified": None},
        {**DANAS, "email_verified": "true"},
        {**DANAS, "email": None},
        {**DANAS, "email": "dana@smithville.example.evil.example"},
        {**DANAS, "email": ["dana@smithville.example"]},
        {**DANAS, "email": "nobody@smithville.example"},
    ],
    ids=["unverified", "not said", "a word", "no address", "foreign domain", "no text", "unknown"],
)
def test_whose_address_is_not_sure_is_not_known(
    pinned: User, provider: SignInProvider, person: dict[str, object]
) -> None:
    provider.person = person
    assert was_refused(visit(provider))
    assert User.objects.count() == 1


def test_an_address_of_a_domain_that_is_not_pinned_is_not_known(dana: User, provider: SignInProvider) -> None:
    pin(dana, provider, "other.example")
    assert was_refused(visit(provider))


def test_nor_by_another_issuer_than_the_pinned_one(
    pinned: User, provider: SignInProvider, settings: LazySettings
) -> None:
    PinnedProvider.objects.update(issuer="https://id.example")
    assert was_refused(visit(provider))


def test_nor_where_one_of_several_districts_has_not_pinned_it(pinned: User, provider: SignInProvider) -> None:
    Membership.objects.create(user=pinned, district=DistrictFactory(), role=Role.DISTRICT_VIEWER)
    assert was_refused(visit(provider))


def test_an_address_that_has_gone_to_somebody_else_does_not_open_the_account(
    pinned: User, provider: SignInProvider
) -> None:
    visit(provider)
    provider.person["sub"] = "somebody-else"
    assert not is_in(visit(provider))
    assert SocialAccount.objects.count() == 1


def test_staff_are_never_known_by_their_address(provider: SignInProvider, db: None) -> None:
    person = StaffFactory(email="dana@smithville.example")
    MembershipFactory(user=person)
    pin(person, provider)
    assert was_refused(visit(provider))


def test_an_account_that_has_ended_is_not_opened(pinned: User, provider: SignInProvider) -> None:
    visit(provider)
    User.objects.update(is_active=False)
    assert not is_in(visit(provider))


LIES = {
    "wrong issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "for another program": {"aud": "somebody-else"},
    "for another program among several": {"aud": ["portal", "other"], "azp": "other"},
    "over": {"exp": 1},
    "from tomorrow": {"iat": int(time.time()) + 86_400},
    "nobody": {"sub": None},
}


@pytest.mark.parametrize("claims", LIES.values(), ids=LIES)
def test_such_a_token_is_not_believed(pinned: User, provider: SignInProvider, claims: dict[str, object]) -> None:
    provider.wrong_claims = claims
    client = visit(provider)
    assert was_refused(client)
    assert "did not say who you are" in told(client)


@pytest.mark.parametrize("kind", ["signed by another key", "unsigned", "signed with a shared secret"])
def test_nor_one_that_it_did_not_sign(pinned: User, provider: SignInProvider, kind: str) -> None:
    if kind == "signed by another key":
        provider.wrong_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    elif kind == "unsigned":
        provider.wrong_key, provider.algorithm = "", "none"
    else:
        provider.wrong_key, provider.algorithm = "portals-secret" * 4, "HS256"
    assert was_refused(visit(provider))


@pytest.mark.parametrize("discovery", [{"issuer": "https://evil.example"}, {"jwks_uri": None}, {"token_endpoint": 5}])
def test_nor_a_provider_that_says_it_is_another(
    pinned: User, provider: SignInProvider, discovery: dict[str, object]
) -> None:
    provider.wrong_discovery = discovery
    assert was_refused(visit(provider))


def test_one_that_does_not_answer_is_said_so(dana: User, provider: SignInProvider, settings: LazySettings) -> None:
    settings.OPENID_PROVIDERS = [provider.setting(issuer="http://127.0.0.1:9")]
    client = Client()
    client.answer = client.post(GO)
    assert "did not say who you are" in told(client)


@pytest.mark.parametrize("query", ["", "?code=x", "?code=x&state=y", "?error=access_denied&state=y"])
def test_an_answer_that_nobody_asked_for_signs_in_nobody(pinned: User, provider: SignInProvider, query: str) -> None:
    client = Client()
    client.answer = client.get(f"{BACK}{query}")
    assert was_refused(client)


def test_an_answer_for_one_browser_does_not_sign_another_in(pinned: User, provider: SignInProvider) -> None:
    led = Client().post(GO)
    other = Client()
    other.answer = other.get(provider.visited(led.url).removeprefix("http://localhost:8000"))
    assert was_refused(other)


# --- What stays as it is -----------------------------------------------------------------------------------------


def connected(person: User, provider: SignInProvider) -> Client:
    return visit(provider, sign_in(person), process="connect")


def test_staff_are_asked_for_their_second_factor_all_the_same(
    db: None, provider: SignInProvider, settings: LazySettings
) -> None:
    ada = StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR)
    secret = set_up(connected(ada, provider))
    client = visit(provider)
    assert (client.answer.url, is_in(client)) == (reverse("mfa_authenticate"), False)
    assert is_in(type_code(client, code_of(secret)))
    half_minute_later()
    Authenticator.objects.all().delete()
    settings.SECOND_FACTOR_REQUIRED = True
    assert visit(provider).get(reverse("audit_log")).url == reverse("mfa_activate_totp") + "?first"


def test_it_gives_no_role_and_no_district(pinned: User, provider: SignInProvider) -> None:
    before = list(Membership.objects.values())
    visit(provider)
    assert list(Membership.objects.values()) == before


def test_it_is_no_fresh_sign_in(pinned: User, provider: SignInProvider) -> None:
    client = visit(provider)
    place = reverse("district_sign_in", args=[pinned.memberships.get().district.slug])
    assert client.post(place, {"asks": "yes"}).url.startswith(reverse("account_reauthenticate"))


def test_a_district_pins_and_takes_off_on_its_page(dana: User, provider: SignInProvider) -> None:
    client, slug = sign_in(dana), dana.memberships.get().district.slug
    place = reverse("provider_pin", args=[slug])
    assert client.post(place, {"issuer": provider.issuer, "domain": "no domain"}).status_code == 422
    assert client.post(place, {"issuer": "https://evil.example", "domain": "smithville.example"}).status_code == 422
    assert client.post(place, {"issuer": provider.issuer, "domain": " Smithville.Example "}).status_code == 302
    found = PinnedProvider.objects.get()
    assert (found.issuer, found.domain) == (provider.issuer, "smithville.example")
    assert "smithville.example" in client.get(reverse("district_sign_in", args=[slug])).content.decode()
    other = MembershipFactory().user
    theirs = reverse("provider_unpin", args=[other.memberships.get().district.slug, found.pk])
    assert sign_in(other).post(theirs).status_code == 404
    assert client.post(reverse("provider_unpin", args=[slug, found.pk])).status_code == 302
    assert not PinnedProvider.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="sign-in provider").order_by("number")
    assert [one.action for one in actions] == ["sign-in provider pinned", "sign-in provider unpinned"]


def test_where_none_is_set_up_there_is_no_way_there(dana: User) -> None:
    assert Client().post(GO).status_code == 404
    assert "School ID" not in Client().get(reverse("account_login")).content.decode()


# --- Rules and settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hd", "wanted"), [("oak.org", "ann@oak.org"), (None, ""), ("elm.org", "")])
def test_google_answers_for_a_whole_domain_or_not_at_all(hd: str | None, wanted: str) -> None:
    claims = {"email": "Ann@Oak.org", "email_verified": True, "hd": hd}
    assert verified_address("https://accounts.google.com", claims) == wanted


def test_somebody_without_a_district_is_not_known_by_an_address() -> None:
    assert not may_link("https://id.example", "ann@oak.org", [])
    assert may_link("https://id.example", "ann@oak.org", [{Pin("https://id.example", "oak.org")}])


WHOLE = {"id": "google", "name": "Google", "issuer": "https://accounts.google.com", "client_id": "x", "secret": "y"}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ([], 0),
        ([WHOLE], 0),
        ([WHOLE, WHOLE], 1),
        ([{**WHOLE, "issuer": "http://accounts.google.com"}], 1),
        ([{**WHOLE, "id": "a/b"}], 1),
        ([{**WHOLE, "secret": ""}], 1),
        ([{"id": "google"}], 1),
        ({"id": "google"}, 1),
    ],
)
def test_a_setting_that_is_not_whole_is_found_at_start(settings: LazySettings, told: object, found: int) -> None:
    settings.OPENID_PROVIDERS = told
    assert [one.id for one in checks.openid_providers_are_whole(None)] == ["portal.E006"] * found
