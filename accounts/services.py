"""What is written down about districts and people. Each is one transaction with its audit entry."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from datetime import timedelta

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from hosts.models import Host

from . import audit, notices
from .core import names
from .core.mailing import How
from .core.roles import Role
from .models import (
    District,
    Invitation,
    MailChoice,
    Membership,
    PinnedProvider,
    RetiredUsername,
    SecondFactorReset,
    SftpAccount,
    User,
)
from .signals import account_changed, account_changing


class Refused(Exception):
    """What was asked cannot be done; `code` is stable, the text says why and how to mend it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


# --- Districts ---------------------------------------------------------------------------------------------------


@transaction.atomic
def district_open(name: str, domain: str, *, time_zone: str, actor: User | None, host: Host | None = None) -> District:
    """A new district with its SFTP account, on `host` or else where new districts go.

    Raises Refused (a domain that is taken, a host that is not ready) or names.NameRefused.
    """
    domain = names.domain(domain)
    _domain_must_be_free(domain)
    alike = District.objects.filter(slug__startswith=names.slug_stem(name))
    taken = set(alike.values_list("slug", flat=True))
    district = District.objects.create(
        name=name.strip(), domain=domain, slug=names.slug(name, taken), time_zone=time_zone
    )
    account = SftpAccount.objects.create(district=district, host=_host_ready(host), username=domain)
    details = {"host": account.host.name}
    audit.record("district opened", actor=actor, district=district, subject=domain, details=details)
    account_changed.send(sender=District, account=account, before=None)
    return district


@transaction.atomic
def district_rename(district: District, *, name: str, domain: str, actor: User | None) -> District:
    """Changes a district's name, and its domain with the SFTP user name that goes with it.

    The old user name works until the next propagation, then only the new one does; keys, files and history stay.
    Raises Refused or names.NameRefused; nothing is changed then.
    """
    account_changing.send(sender=District, account=SftpAccount.objects.get(district=district))
    account = SftpAccount.objects.select_for_update().get(district=district)
    old = District.objects.get(pk=district.pk)
    domain = names.domain(domain)
    if domain != old.domain:
        _domain_must_be_free(domain, account)
        account.retired_usernames.filter(username=domain, cleared=None).delete()
        RetiredUsername.objects.create(account=account, username=account.username)
        account.username = domain
        account.save(update_fields=["username"])
    district.name, district.domain = name.strip(), domain
    district.save(update_fields=["name", "domain"])
    details = {"name": [old.name, district.name], "domain": [old.domain, domain]}
    audit.record("district renamed", actor=actor, district=district, subject=domain, details=details)
    if domain != old.domain:
        account_changed.send(sender=District, account=account, before=old.state)
    return district


@transaction.atomic
def district_state_set(district: District, state: District.State, *, reason: str, actor: User | None) -> None:
    """Suspends, resumes or closes a district. Its keys leave the host (or come back) with the next propagation."""
    account_changing.send(sender=District, account=SftpAccount.objects.get(district=district))
    # As it is now: somebody else may have closed it since the caller looked.
    before = District.objects.select_for_update().get(pk=district.pk).state
    if before == state:
        return
    district.state = state
    district.save(update_fields=["state"])
    details = {"from": before, "to": str(state), "reason": reason}
    audit.record(f"district {state}", actor=actor, district=district, subject=district.domain, details=details)
    account = SftpAccount.objects.get(district=district)
    account_changed.send(sender=District, account=account, before=before)


def hosts_ready() -> QuerySet[Host]:
    """Hosts that may get a new district, the one that gets it if nobody chooses first.

    That is the one on whose page ops have said so, or else the one with most accounts. One that nobody has confirmed
    yet, or that was stopped, gets none.
    """
    ready = Host.objects.filter(state=Host.State.READY)
    return ready.annotate(count=Count("accounts")).order_by("-takes_new", "-count", "pk")


def _host_ready(chosen: Host | None) -> Host:
    host = (hosts_ready().filter(pk=chosen.pk) if chosen else hosts_ready()).first()
    if host is None and chosen is not None:
        raise Refused("host-not-ready", f"{chosen.name} is not ready for districts any more. Choose another host.")
    if host is None:
        raise Refused("no-host", "No SFTP host is ready. Start the portal once with `make run`; it makes one.")
    return host


def names_kept_back() -> QuerySet[RetiredUsername]:
    """User names that were given up, and that no other account may have: the host may still know them.

    An OpenSSH host knows them for ever: there a name belongs to one user number.
    """
    return RetiredUsername.objects.filter(Q(cleared=None) | Q(account__host__kind=Host.Kind.OPENSSH))


def _domain_must_be_free(domain: str, account: SftpAccount | None = None) -> None:
    taken = SftpAccount.objects.filter(username=domain)
    leaving = names_kept_back().filter(username=domain)
    if account is not None:
        taken, leaving = taken.exclude(pk=account.pk), leaving.exclude(account=account)
    if taken.exists() or leaving.exists():
        raise Refused("domain-taken", f"Another district has the domain {domain}, or had it before.")


# --- People ------------------------------------------------------------------------------------------------------


@transaction.atomic
def person_make(email: str, name: str, password: str, *, staff_role: Role | None = None) -> User:
    """A person who can sign in at once with `password`; their address counts as verified."""
    person = User.objects.create_user(email, password, name=name, staff_role=staff_role or "")
    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    audit.record("person added", subject=person.email, details={"staff role": person.staff_role})
    return person


@transaction.atomic
def membership_give(user: User, district: District, role: Role, *, actor: User | None, reason: str = "") -> Membership:
    """Gives a person a role in a district, in place of the one they had there.

    Raises Refused if they are its last administrator, and would be no more.
    """
    if role != Role.DISTRICT_ADMINISTRATOR:
        _must_keep_an_administrator([district], user)
    membership, _ = Membership.objects.update_or_create(user=user, district=district, defaults={"role": role})
    details = {"role": str(role), **({"reason": reason} if reason else {})}
    audit.record("role given", actor=actor, district=district, subject=user.email, details=details)
    return membership


@transaction.atomic
def membership_end(user: User, district: District, *, reason: str, actor: User) -> None:
    """A person leaves a district, or is taken out of it; invitations that would bring them back end.

    Raises Refused if they are its last administrator.
    """
    _must_keep_an_administrator([district], user)
    for membership in Membership.objects.filter(user=user, district=district):
        membership.delete()
        details = {"role": membership.role, "reason": reason}
        audit.record("left district", actor=actor, district=district, subject=user.email, details=details)
    _invitations_end(Invitation.objects.filter(district=district, email=user.email))


@transaction.atomic
def account_end(user: User, *, reason: str, actor: User) -> None:
    """Ends a person's account for good: signed out everywhere, in no district any more, no way back in.

    Raises Refused if they are the last administrator of a district, or the last system administrator.
    """
    districts = list(District.objects.filter(memberships__user=user).order_by("pk"))
    _must_keep_an_administrator(districts, user)
    _must_keep_a_system_administrator(user)
    for district in districts:
        membership_end(user, district, reason=reason, actor=actor)
    _invitations_end(Invitation.objects.filter(email=user.email))
    user.is_active = False
    user.set_unusable_password()
    user.save(update_fields=["is_active", "password"])
    audit.record("account ended", actor=actor, subject=user.email, details={"reason": reason})
    sessions_end(UserSession.objects.filter(user=user), person=user, actor=actor)


def _must_keep_an_administrator(districts: Iterable[District], leaver: User) -> None:
    """Locks the districts in their order: of two who leave at once the second one sees that the first has gone."""
    for district in districts:
        District.objects.select_for_update().get(pk=district.pk)
        heads = Membership.objects.filter(district=district, role=Role.DISTRICT_ADMINISTRATOR, user__is_active=True)
        if heads.filter(user=leaver).exists() and not heads.exclude(user=leaver).exists():
            raise Refused(
                "last-administrator",
                f"{leaver.email} is the last administrator of {district.name}. Somebody else must become one first.",
            )


def _must_keep_a_system_administrator(leaver: User) -> None:
    heads = User.objects.select_for_update().filter(staff_role=Role.SYSTEM_ADMINISTRATOR, is_active=True)
    if {one.pk for one in heads} == {leaver.pk}:
        raise Refused("last-administrator", f"{leaver.email} is the last system administrator.")


def _invitations_end(invitations: QuerySet[Invitation]) -> None:
    now = timezone.now()
    invitations.filter(accepted=None, expires__gt=now).update(expires=now)


@transaction.atomic
def sessions_end(sessions: Iterable[UserSession], *, person: User, actor: User | None) -> None:
    """Signs a person out of browsers: whoever sits there has to sign in anew."""
    ended = list(sessions)
    for session in ended:
        session.end()
    details = {"sessions": len(ended), "addresses": sorted({session.ip for session in ended})}
    audit.record("signed out elsewhere", actor=actor, subject=person.email, details=details)


@transaction.atomic
def mails_choose(person: User, chosen: Mapping[str, How], *, time_zone: str) -> None:
    """Which mails a person wants, and by which clock they live (empty: the portal's, or their district's)."""
    for group, how in chosen.items():
        MailChoice.objects.update_or_create(user=person, group=group, defaults={"how": how})
    person.time_zone = time_zone
    person.save(update_fields=["time_zone"])
    details = {group: str(how) for group, how in chosen.items()} | {"time zone": time_zone}
    audit.record("mails chosen", actor=person, subject=person.email, details=details)


# --- Second factor -----------------------------------------------------------------------------------------------


@transaction.atomic
def district_second_factor_set(district: District, asks: bool, *, actor: User) -> None:
    """Whether everybody of a district must have a second factor. It holds from their next page on."""
    if not District.objects.filter(pk=district.pk).exclude(asks_second_factor=asks).update(asks_second_factor=asks):
        return
    action = "second factor made compulsory" if asks else "second factor left to each person"
    audit.record(action, actor=actor, district=district, subject=district.domain)


@transaction.atomic
def provider_pin(district: District, *, issuer: str, domain: str, actor: User) -> None:
    """A district believes this issuer about this domain from now on. Raises names.NameRefused."""
    domain = names.domain(domain)
    _, is_new = PinnedProvider.objects.get_or_create(district=district, issuer=issuer, domain=domain)
    if is_new:
        details = {"issuer": issuer, "domain": domain}
        audit.record("sign-in provider pinned", actor=actor, district=district, subject=domain, details=details)


@transaction.atomic
def provider_unpin(pin: PinnedProvider, *, actor: User) -> None:
    """And no more. Whoever is connected already stays so: that is theirs to take off."""
    details = {"issuer": pin.issuer, "domain": pin.domain}
    audit.record("sign-in provider unpinned", actor=actor, district=pin.district, subject=pin.domain, details=details)
    pin.delete()


@transaction.atomic
def second_factor_reset_ask(email: str, *, reason: str, actor: User) -> SecondFactorReset:
    """Asks that a lost second factor is taken off; somebody else decides. The person is told. Raises Refused."""
    person = User.objects.select_for_update().filter(email=email.strip().lower(), is_active=True).first()
    if person is None:
        raise Refused("nobody", "Nobody signs in with this address.")
    if person == actor:
        raise Refused("your-own", "This is your own. Ask a colleague to ask for you.")
    if not Authenticator.objects.filter(user=person).exists():
        raise Refused("none", f"{person.email} has no second factor.")
    if SecondFactorReset.objects.filter(person=person, state="waiting", ends__gt=timezone.now()).exists():
        raise Refused("asked-already", "This has been asked for already and waits for a second person.")
    reset = SecondFactorReset.objects.create(person=person, reason=reason, asked_by=actor)
    audit.record("second factor reset asked", actor=actor, subject=person.email, details={"reason": reason})
    notices.notice_send("second-factor-asked", [person.email], {"reset": reset}, about=f"reset-{reset.pk}")
    return reset


@transaction.atomic
def second_factor_reset_decide(reset: SecondFactorReset, *, allow: bool, actor: User) -> None:
    """Takes the second factor off and signs the person out everywhere, or declines. Raises Refused."""
    reset = SecondFactorReset.objects.select_for_update().select_related("person").get(pk=reset.pk)
    if reset.state != SecondFactorReset.State.WAITING or reset.is_over:
        raise Refused("decided", "This has been decided already, or its day is over.")
    if actor.pk in (reset.asked_by_id, reset.person_id):
        raise Refused("same-person", "It takes two: somebody else than who asked, and not whose it is.")
    reset.state = SecondFactorReset.State.DONE if allow else SecondFactorReset.State.DECLINED
    reset.decided_by, reset.decided = actor, timezone.now()
    reset.save(update_fields=["state", "decided_by", "decided"])
    person, asker = reset.person, reset.asked_by.email if reset.asked_by else ""
    details = {"reason": reset.reason, "asked by": asker}
    audit.record(f"second factor reset {reset.state}", actor=actor, subject=person.email, details=details)
    if allow:
        Authenticator.objects.filter(user=person).delete()
        sessions_end(UserSession.objects.filter(user=person), person=person, actor=actor)
        notices.notice_send("second-factor-off", [person.email], {"reset": reset}, about=f"reset-{reset.pk}")


# --- Invitations -------------------------------------------------------------------------------------------------


@transaction.atomic
def invitation_send(district: District, email: str, name: str, role: Role, *, actor: User | None) -> Invitation:
    """Invites a person by mail. An earlier open invitation of the same address to the same district ends.

    Raises Refused for an address of staff, or of a person whose account has ended.
    """
    email = email.strip().lower()
    person = User.objects.filter(email=email).first()
    if person is not None and person.staff_role:
        raise Refused("is-staff", f"{email} is one of your own staff and sees every district already.")
    if person is not None and not person.is_active:
        raise Refused("account-ended", f"The account of {email} has ended. Invite another address.")
    now = timezone.now()
    _invitations_end(Invitation.objects.filter(district=district, email=email))
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        email=email,
        name=name.strip(),
        district=district,
        role=role,
        invited_by=actor,
        token_digest=_token_digest(token),
        expires=now + timedelta(days=settings.INVITATION_DAYS),
    )
    context = {"invitation": invitation, "token": token}
    notices.notice_send("invitation", [email], context, about=f"invitation-{invitation.pk}", district=district)
    details = {"role": str(role)}
    audit.record("invitation sent", actor=actor, district=district, subject=email, details=details)
    return invitation


def invitation_for(token: str) -> Invitation | None:
    """The open invitation this token belongs to: not accepted, not expired, its district not closed.

    Nor is it open while the person with its address has an account that has ended.
    """
    open_now = Q(accepted=None, expires__gt=timezone.now()) & ~Q(district__state=District.State.CLOSED)
    rows = Invitation.objects.filter(open_now).select_related("district")
    found = rows.filter(token_digest=_token_digest(token)).first()
    if found is not None and User.objects.filter(email=found.email, is_active=False).exists():
        return None
    return found


@transaction.atomic
def invitation_accept(invitation: Invitation, *, name: str, password: str) -> User:
    """Makes the person (or gives the person who has this address another district). Raises Refused when too late."""
    if not Invitation.objects.filter(pk=invitation.pk, accepted=None).update(accepted=timezone.now()):
        raise Refused("invitation-used", "This invitation has been used already. Sign in with your password.")
    person = User.objects.filter(email=invitation.email).first()
    if person is not None and not person.is_active:
        raise Refused("account-ended", "This account has ended. Ask your vendor's support.")
    person = person or person_make(invitation.email, name, password)
    membership_give(person, invitation.district, Role(invitation.role), actor=person)
    audit.record("invitation accepted", actor=person, district=invitation.district, subject=person.email)
    return person


def _token_digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
