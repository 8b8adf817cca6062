"""When the word of another sign-in provider is enough to know whose account of ours is meant."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

# Google says of any address that it is verified; only with this claim does it answer for the whole domain.
OWN_DOMAIN_CLAIM = {"https://accounts.google.com": "hd"}


@dataclass(frozen=True, slots=True)
class Pin:
    """A district believes this issuer about the addresses of this domain."""

    issuer: str
    domain: str


def verified_address(issuer: str, claims: Mapping[str, object]) -> str:
    """The address that the issuer answers for, in lower case; or ""."""
    told = claims.get("email")
    if not isinstance(told, str) or claims.get("email_verified") is not True:
        return ""
    address = told.strip().lower()
    name, _, domain = address.rpartition("@")
    claim = OWN_DOMAIN_CLAIM.get(issuer)
    is_theirs = claim is None or str(claims.get(claim, "")).lower() == domain
    return address if name and domain and is_theirs else ""


def may_link(issuer: str, address: str, pins_of_districts: Iterable[Collection[Pin]]) -> bool:
    """Whether the person with this address may be known by it: every district of theirs has pinned issuer and domain.

    Each of them, since the sign-in opens all of them. `pins_of_districts` holds the pins of one district each.
    """
    wanted = Pin(issuer, address.rpartition("@")[2])
    pinned = [wanted in pins for pins in pins_of_districts]
    return bool(pinned) and all(pinned)
