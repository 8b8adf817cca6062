"""Which regular expressions a descriptor may hold: only those that Python's `re` matches in linear time.

The rule is simple and on the safe side. Groups are `(...)` and `(?:...)` only, a group may be followed by `?` and by
no other quantifier, and the ways in which the quantifiers can share out one value are at most `MOST_WAYS`: that leaves
room for one that has no end, and for a few small ones. A quantifier whose run a plain character ends that it could
not take itself has but one way to match, and is not counted. A value longer than `REACH` characters never gets as far
as the pattern.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LENGTH = 200
REACH = 255
MOST_WAYS = 1 << 14

TOKEN = re.compile(
    r"""(?P<escape>\\.) | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*+\]) | (?P<open>\((?:\?:)?+) | (?P<close>\))
      | (?P<repeat>(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})[?+]?) | (?P<bar>\|) | (?P<one>[^\\\[\](){}*+?|])""",
    re.VERBOSE | re.DOTALL,
)
SAFE_ESCAPES = frozenset("dDsSwW.-/\\()[]{}*+?|^$@_:,;#&' ntbB")


class UnsafePattern(ValueError):
    """Says in one sentence why a pattern is refused."""


@dataclass(slots=True)
class _Scan:
    ways: int = 1
    before: str = ""
    atom: str = ""
    depth: int = 0

    def take(self, kind: str, text: str, rest: Sequence[str]) -> None:
        """The next token; `rest`: the texts of those that follow."""
        match kind:
            case "repeat":
                self.repeat(text, rest)
            case "bar":
                self.ways *= 2
            case "open":
                self.depth += 1
                if self.depth > 5:
                    raise UnsafePattern("groups are nested more than five deep")
            case "close":
                self.depth -= 1
            case "escape" if text[1] not in SAFE_ESCAPES:
                raise UnsafePattern(f"`{text}` is not among the escapes that may be used (no back-references)")
        self.before, self.atom = kind, text
        if self.ways > MOST_WAYS:
            raise UnsafePattern("its repeats can share out one value in too many ways")

    def repeat(self, text: str, rest: Sequence[str]) -> None:
        if self.before == "close" and text != "?":
            raise UnsafePattern("a group may be followed by `?` and by no other repeat")
        if self.before not in ("close", "escape", "set", "one"):
            raise UnsafePattern("a repeat has nothing to repeat")
        if text[-1] in "?+" and len(text) > 1:
            raise UnsafePattern("lazy and possessive repeats are not used here")
        if self.before == "close" or not _ends(self.atom, rest):
            self.ways *= _choices(text)


def _ends(atom: str, rest: Sequence[str]) -> bool:
    """Whether after a run of `atom` there must come a plain character that is none of it."""
    after, further = (*rest[:2], "", "")[:2]
    plain = after[-1:] if len(after) == 2 and not after[1].isalnum() else after
    is_plain = len(plain) == 1 and (after != plain or plain not in ".^$()|*+?")
    return is_plain and not _is_repeat(further) and re.fullmatch(atom, plain) is None


def _is_repeat(text: str) -> bool:
    token = TOKEN.match(text)
    return token is not None and token.lastgroup == "repeat"


def safe_pattern(text: str) -> str:
    """The pattern itself if it may be used with `fullmatch`; raises UnsafePattern if not."""
    if len(text) > LENGTH:
        raise UnsafePattern(f"it is longer than {LENGTH} characters")
    tokens = list(_tokens(text))
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise UnsafePattern(f"it does not compile: {error}") from None
    scan, texts = _Scan(), [token for _, token in tokens]
    for at, (kind, token) in enumerate(tokens, start=1):
        scan.take(kind, token, texts[at:])
    return text


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None or not token.lastgroup:
            raise UnsafePattern(f"`{text[at : at + 4]}` is not among what a pattern may hold")
        yield token.lastgroup, token.group()
        at = token.end()


def _choices(text: str) -> int:
    if text == "?":
        return 2
    if text in ("*", "+"):
        return REACH
    low, _, high = text[1:-1].partition(",")
    if "," not in text:
        return 1
    return max(1, (int(high) if high else REACH) - int(low) + 1)
