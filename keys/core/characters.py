"""Characters: what a paste looks like once blanks, invisible characters and line ends are made plain."""

import re
from dataclasses import dataclass

COMMENT_LENGTH = 255

_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# What Unicode calls Default_Ignorable_Code_Point (DerivedCoreProperties.txt), and the directions of text.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAIL_QUOTING = re.compile(r" *(?:> ?){1,9}")
# The words above PuTTYgen's box: "OpenSSH" and the name of the file changed from one PuTTYgen to the next.
_CAPTION = re.compile(r"&?public key for pasting into [\w ~/.]{0,30}authorized_keys2? file:? *", re.I)
_QUOTES = frozenset(
    {
        *('""', "''", "``", "\u00b4\u00b4", "\u201c\u201d", "\u201c\u201c", "\u201d\u201d", "\u201e\u201c"),
        *("\u201e\u201d", "\u2018\u2019", "\u2018\u2018", "\u2019\u2019", "\u201a\u2018", "\u201a\u2019"),
        *("\u00ab\u00bb", "\u00bb\u00ab", "\u2039\u203a", "\u203a\u2039", "\u300c\u300d"),
    }
)
_CAPTION_BEGINS = frozenset("Pp&")
_OPENING = frozenset(pair[0] for pair in _QUOTES)
_MISREAD_MARK = "\u00ef\u00bb\u00bf"  # a byte order mark that was read as Windows-1252
_UTF16_SHARE = 3
_MOST_LAYERS_OF_QUOTES = 9


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a paste, its blanks made plain: number from 1, with its outer blanks, and without them."""

    number: int
    raw: str
    text: str


def text_from(content: bytes) -> str:
    """The text of a file as editors save it: UTF-8, UTF-16 (with or without its mark) or Windows-1252."""
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return content.decode("utf-32", "replace")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if content[1:8:2] == bytes(4):
        return content.decode("utf-16-le", "replace")
    if content[0:8:2] == bytes(4):
        return content.decode("utf-16-be", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def split_lines(text: str) -> list[str]:
    """Lines ended by LF, CRLF, CR, or the CR CR LF of a twice converted file, and by nothing else."""
    return text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def forbidden_lines(text: str) -> list[int]:
    """Numbers of the lines with a character that could end a line or steer a terminal."""
    if not _FORBIDDEN.search(text):
        return []
    return [number for number, line in enumerate(split_lines(text), 1) if _FORBIDDEN.search(line)]


def visible(text: str) -> str:
    """Without anything that does not show: what a person who reads the paste would see."""
    shown = _FORBIDDEN.sub("", text)
    if shown.isascii():
        return shown
    shown = _INVISIBLE.sub("", shown)
    unseen = [character for character in set(shown) if not (character.isprintable() or character.isspace())]
    return shown.translate(dict.fromkeys(map(ord, unseen))) if unseen else shown


def is_read_as_bytes(text: str) -> bool:
    """Whether this is UTF-16 whose bytes were taken for characters: about every second one is a zero byte."""
    return text.count("\0") * _UTF16_SHARE > len(text)


def lines_from(text: str) -> list[Line]:
    """The lines of a paste, without mail quoting, quotes round a line or the whole, and PuTTYgen's caption."""
    plain = text.replace("\t", " ")
    if not plain.isascii():
        plain = _BLANKS.sub(" ", _INVISIBLE.sub("", plain)).removeprefix(_MISREAD_MARK)
    raws = [_without_mail_quoting(raw) for raw in split_lines(plain)]
    return [_line(number, raw) for number, raw in enumerate(_unquoted_whole(raws), 1)]


def comment_from(text: str) -> str:
    """A comment safe in a line, a page and a log: printable, single blanks, at most 255 characters."""
    return tidy(text)[:COMMENT_LENGTH].rstrip()


def tidy(text: str) -> str:
    """Printable characters and single blanks only, of any length."""
    words = text.split()
    joined = " ".join(words)
    if joined.isprintable():
        return joined
    printable = ("".join(filter(str.isprintable, word)) for word in words)
    return " ".join(filter(None, printable))


def count_lines(text: str) -> int:
    """How many lines ``split_lines`` would give, or a few more."""
    return 1 + text.count("\n") + text.count("\r") - text.count("\r\n")


def _without_mail_quoting(raw: str) -> str:
    quoting = _MAIL_QUOTING.match(raw) if ">" in raw else None
    return raw[quoting.end() :] if quoting else raw


def _line(number: int, raw: str) -> Line:
    text = raw.strip(" ")
    if text[:1] in _OPENING:
        for _ in range(_MOST_LAYERS_OF_QUOTES):
            if _is_quoted(text):
                raw = text[1:-1]
                text = raw.strip(" ")
    if text[:1] in _CAPTION_BEGINS and (caption := _CAPTION.match(text)):
        raw = text = text[caption.end() :]
    return Line(number, raw, text)


def _unquoted_whole(raws: list[str]) -> list[str]:
    """Without quotes that open in the first line and close in another, the last."""
    first = next((index for index, raw in enumerate(raws) if raw.strip(" ")), 0)
    last = next((index for index in range(len(raws) - 1, first, -1) if raws[index].strip(" ")), first)
    if first == last:
        return raws
    opening, closing = raws[first].lstrip(" "), raws[last].rstrip(" ")
    is_open = _is_quoted(opening[0] + closing[-1]) and not _is_quoted(opening.rstrip(" "))
    if is_open and not opening.startswith("```"):
        raws[first], raws[last] = opening[1:], closing[:-1]
    return raws


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] + text[-1] in _QUOTES and not _is_fence(text)


def _is_fence(text: str) -> bool:
    """Whether a line only opens or closes a code block."""
    return text.startswith("```") and not text.strip("`")
