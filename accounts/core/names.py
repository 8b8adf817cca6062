"""What a district may be called: its domain (which is its SFTP user name) and its slug in page addresses.

The SFTP user name rule stands in `hosts.core.paths` too, where paths are built; a test holds the two together.
"""

import re

# RFC 1123 labels, joined by dots; at least two, since a district's name is a domain. 253 is DNS's own limit.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")
LONGEST_DOMAIN = 253
LONGEST_SLUG = 31


class NameRefused(ValueError):
    """A name that cannot be used; the text says why and how to mend it."""


def domain(text: str) -> str:
    """The district's domain in its one form: lower case, no outer blanks. Raises NameRefused.

    The domain becomes the SFTP user name (domain.md A20), so what is refused here could not sign in.
    """
    name = text.strip().lower()
    if not name:
        raise NameRefused("Enter the district's domain, for example smithville.k12.oh.us.")
    if len(name) > LONGEST_DOMAIN:
        raise NameRefused(f"A domain has at most {LONGEST_DOMAIN} characters; this has {len(name)}.")
    if not _DOMAIN.fullmatch(name):
        raise NameRefused(
            "A domain is made of letters, digits and hyphens, in parts joined by dots: smithville.k12.oh.us."
        )
    return name


def slug(text: str, taken: frozenset[str] | set[str]) -> str:
    """A short name for page addresses made from a district's name, different from all in `taken`.

    2 to 31 characters of a-z, 0-9 and hyphen, beginning with a letter or digit; it never changes later.
    """
    stem = slug_stem(text)
    candidate, number = stem, 2
    while candidate in taken:
        candidate, number = f"{stem}-{number}", number + 1
    return candidate


def slug_stem(text: str) -> str:
    """What every short name made from `text` begins with."""
    stem = _whole_words(_NOT_IN_SLUG.sub("-", text.lower()).strip("-"), LONGEST_SLUG - 5)
    return stem if len(stem) >= 2 else f"district-{stem}".strip("-")


def _whole_words(stem: str, longest: int) -> str:
    """As many whole words of a hyphenated stem as fit; of one endless word, its beginning."""
    if len(stem) <= longest:
        return stem
    return stem[: longest + 1].rpartition("-")[0] or stem[:longest]
