"""Whatever no other form took: says what it is. Takes at least one line, so it must be asked last."""

import re
from collections.abc import Sequence

from keys.core.characters import Line
from keys.core.errors import Refusal
from keys.core.formats.contract import Taken
from keys.core.formats.wrapping import pieces_behind

_LONGEST_READ = 2000
_TYPE = r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d{3}|sk-(?:ssh|ecdsa)-[a-z0-9-]{1,20}@openssh\.com)"
_OPTION = (
    r"agent-forwarding|cert-authority|command|environment|expiry-time|from|no-[a-z0-9-]{2,20}|permitlisten"
    r"|permitopen|port-forwarding|principals|pty|restrict|touch-required|tunnel|user-rc|verify-required"
    r"|x11-forwarding"
)
_COMMAND = r"cat|type|ssh|sftp|ssh-keygen|ssh-copy-id|puttygen"

# Asked in this order; the first that matches says what the line is. Upper and lower case are the same here.
_KINDS: tuple[tuple[Refusal, str], ...] = (
    (Refusal.HTML, r"</?[a-z!][^>]{0,200}>"),
    (Refusal.OPTIONS, rf"^(?:{_OPTION})(?:=|,| +{_TYPE})"),
    (Refusal.OPTIONS, rf"^[a-z0-9-]{{1,40}}=\".{{0,1900}} +{_TYPE} "),
    (Refusal.KNOWN_HOSTS, r"^(?:@(?:cert-authority|revoked) |\|1\||\[[^\] ]{1,255}\]:\d)"),
    (Refusal.KNOWN_HOSTS, rf"^[\w*?!-]{{0,63}}[.:,][\w.:,*?!\[\]-]{{1,500}} +{_TYPE} "),
    (Refusal.PROGRAM_OUTPUT, rf"^(?:\S{{0,60}}[$%] ?)?(?:{_COMMAND}) "),
    (
        Refusal.PROGRAM_OUTPUT,
        r"^(?:generating public|enter |your (?:public|identi)|the key|\+-{2}|\|.{17}\|$)",
    ),
    (Refusal.TEXT_BEFORE_KEY, rf"{_TYPE} +AAAA"),
    (Refusal.FINGERPRINT, r"\b(?:SHA256:[a-z0-9+/]{20}|MD5:[0-9a-f]{2}:|(?:[0-9a-f]{2}:){15})"),
    (Refusal.SSH1, r"^\d{3,5} \d{1,10} \d{20}"),
    (Refusal.WEB_ADDRESS, r"^(?:[a-z][a-z0-9+.-]{1,20}://|www\.)"),
    (Refusal.PICTURE_NAME, r"\.(?:png|jpe?g|gif|bmp|webp|heic|tiff?|pdf|docx?)$"),
    (Refusal.FILE_NAME, r"^(?:[a-z]:\\|~|\.{0,2}/|\\\\)|\.(?:pub|ppk|pem|txt)$|^id_[a-z0-9_]{2,20}$"),
    (Refusal.TYPE_MISSING, r"^AAAA[a-z0-9+/]{16}"),
    (Refusal.UNKNOWN_TYPE, r"^[a-z0-9][a-z0-9@._-]{1,63} +AAAA[a-z0-9+/]{8}"),
    (Refusal.KEY_PART, r"^[a-z0-9+/]{40,}={0,2}(?: |$)"),
)
_PATTERNS = tuple((refusal, re.compile(pattern, re.I)) for refusal, pattern in _KINDS)


def take(lines: Sequence[Line], at: int) -> Taken:
    """One line, and the pieces of a broken key behind it."""
    text = lines[at].text[:_LONGEST_READ]
    refusal = next((refusal for refusal, pattern in _PATTERNS if pattern.search(text)), Refusal.NOT_A_KEY)
    return Taken(1 + pieces_behind(lines, at), problems=(refusal.problem(lines[at].number),))
