"""Whatever no other form took: says what it is. Takes at least one line, so it must be asked last."""

import re
from collections.abc import Sequence

from keys.core.characters import Line
from keys.core.errors import Refusal
from keys.core.formats.contract import Taken
from keys.core.formats.wrapping import OPTION, pieces_behind

_LONGEST_READ = 1000
_TYPE = r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d{3}|sk-(?:ssh|ecdsa)-[a-z0-9-]{1,20}@openssh\.com)"
_COMMAND = r"cat|type|echo|ssh|scp|sftp|psftp|ssh-keygen|ssh-copy-id|ssh-add|puttygen|notepad|get-content"
_DASH = r"[-_ .\u2010-\u2015\u2212]?"
_MISSPELT = rf"(?:ssh{_DASH})?(?:rsa|ed{_DASH}25519)|(?:ecdsa{_DASH})?(?:sha2{_DASH})?nistp{_DASH}(?:256|384|521)|ecdsa"
_PICTURE = r"png|jpe?g|gif|bmp|webp|heic|avif|svg|tiff?|pdf|docx?|odt|rtf|xlsx?|zip"
_PAIRS = r"(?:[0-9a-f]{2}:)"
_DOMAIN = r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|edu|gov|us|io|dev)"

# Asked in this order; the first that matches says what the line is. Upper and lower case are the same here.
_KINDS: tuple[tuple[Refusal, str], ...] = (
    (Refusal.UTF16, r"^(?:\u7373\u2d68|\u6365\u7364|\u6b73\u732d|\u6b73\u652d|\u2d2d\u2d2d)"),
    (Refusal.OPTIONS, rf"^(?:{OPTION})(?:=|,| +{_TYPE})"),
    (Refusal.OPTIONS, rf"^[a-z0-9-]{{1,40}}=\".{{0,900}} {_TYPE} "),
    (Refusal.WEB_ADDRESS, r"^<?(?:mailto:|https?://)[^\s<>]+>?$"),
    (Refusal.HTML, r"</?[a-z][a-z0-9-]*(?:[\s/][^<>]{0,200})?>|<!|&(?:[a-z]{2,8}|#\d{1,6}|#x[0-9a-f]{1,5});"),
    (Refusal.KNOWN_HOSTS, r"^(?:@(?:cert-authority|revoked) |\|1\||\[[^\] ]{1,255}\]:\d)"),
    (Refusal.KNOWN_HOSTS, rf"^[\w*?!-]{{0,63}}[.:,][\w.:,*?!\[\]-]{{1,500}} +{_TYPE} "),
    (Refusal.TYPE_SPELLING, rf"^(?:{_MISSPELT}) +AAAA"),
    (Refusal.PROGRAM_OUTPUT, rf"^(?:.{{0,120}}[$%#>] ?)?(?:{_COMMAND}) "),
    (
        Refusal.PROGRAM_OUTPUT,
        r"^(?:generating public|enter (?:file|passphrase|same)|your (?:public key|identification) has|the key(?:'s)? "
        r"(?:fingerprint|randomart)|\+-{2}|\|.{17}\|$|overwrite \(y/n\))",
    ),
    (Refusal.UNKNOWN_TYPE, r"^[a-z0-9][a-z0-9@._-]{1,63} +AAAA[a-z0-9+/]{8}"),
    (Refusal.TEXT_BEFORE_KEY, rf"(?<![\w@-]){_TYPE} +AAAA"),
    (Refusal.RFC4716_UNFINISHED, r"(?:BEGIN|END) SSH2 PUBLIC KEY"),
    (Refusal.PEM_UNFINISHED, r"(?:BEGIN|END) (?:RSA )?PUBLIC KEY"),
    (Refusal.FINGERPRINT, r"\b(?:SHA1:[a-z0-9+/]{20}|SHA256:[a-z0-9+/]{20}|SHA512:[a-z0-9+/]{40})"),
    (
        Refusal.FINGERPRINT,
        rf"(?:\bMD5:|\b(?<![0-9a-f]:))(?:{_PAIRS}{{15}}|{_PAIRS}{{19}}|{_PAIRS}{{31}})[0-9a-f]{{2}}\b(?!:)",
    ),
    (Refusal.FINGERPRINT, r"^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$"),
    (Refusal.KEY_PART, rf"^{_PAIRS}{{16}}"),
    (Refusal.FINGERPRINT, r"\bSSHFP \d{1,2} \d{1,2} [0-9a-f]{20}|^[a-z0-9+/]{43}=?$"),
    (Refusal.FINGERPRINT, r"^x[a-z]{4}-(?:[a-z]{5}-){5,12}[a-z]{4}x$|^(?:sha256|md5)[: ] ?[0-9a-f]{32,64}$"),
    (Refusal.SSH1, r"^\d{3,5} \d{1,10} \d{20}"),
    (Refusal.FILE_NAME, r"^file:/"),
    (Refusal.PICTURE_NAME, rf"\.(?:{_PICTURE})[\])>\"']?$|^\[(?:cid|image):|^data:image/"),
    (Refusal.PICTURE_NAME, r"^(?:screen ?shot|screen ?capture|screen recording|img_\d|bildschirmfoto)"),
    (Refusal.WEB_ADDRESS, rf"^(?:[a-z][a-z0-9+.-]{{1,20}}://|www\.|{_DOMAIN}(?:/\S*)?$|git@[\w.-]+:)"),
    (
        Refusal.FILE_NAME,
        r"^(?:[a-z]:[\\/]|~|\.{0,2}/|\\\\|%\w+%|\$\{?\w+\}?/|\.ssh/)|\.(?:pub|ppk|pem|txt|key|ssh|openssh)$",
    ),
    (Refusal.FILE_NAME, r"^(?:id_[a-z0-9_]{2,20}|authorized_keys2?|known_hosts|\w{1,40}_(?:rsa|ed25519|ecdsa))$"),
    (Refusal.TYPE_MISSING, r"^AAAA[a-z0-9+/]{16}"),
    (Refusal.KEY_PART, r"^[a-z0-9+/]{40,}={0,2}(?: |$)"),
)
_PATTERNS = tuple((refusal, re.compile(pattern, re.I)) for refusal, pattern in _KINDS)


def take(lines: Sequence[Line], at: int) -> Taken:
    """One line, and the pieces of a broken key behind it."""
    text = lines[at].text[:_LONGEST_READ]
    refusal = next((refusal for refusal, pattern in _PATTERNS if pattern.search(text)), Refusal.NOT_A_KEY)
    return Taken(1 + pieces_behind(lines, at), problems=(refusal.problem(lines[at].number),))
