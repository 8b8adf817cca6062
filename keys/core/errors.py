"""Every refusal, note and advice about a key, each with its code, its sentence and how to mend it.

No sentence here ever takes in text from a paste: a private key might be part of it.
"""

from dataclasses import dataclass
from enum import Enum, unique
from functools import lru_cache

NEW_PAIR = "Make a new pair with `ssh-keygen -t ed25519` (PuTTYgen: type EdDSA) and paste its public key."
COPY_AGAIN = "Open the .pub file in a text editor, copy all of it, and paste it again."


@dataclass(frozen=True, slots=True)
class Problem:
    """What a person should know: ``code`` is stable, ``line`` counts from 1 (None: all of the paste)."""

    code: str
    message: str
    hint: str
    line: int | None = None

    def at(self, line: int | None) -> "Problem":
        """The same problem, at a line of the paste."""
        return Problem(self.code, self.message, self.hint, line)


@lru_cache(maxsize=1024)
def _filled(code: str, message: str, hint: str, line: int | None, **facts: int) -> Problem:
    """A sentence and a hint with their figures; the same few are asked for all day."""
    return Problem(code, message.format(**facts), hint.format(**facts), line)


class KeyProblem(Exception):
    """A key that cannot be taken. The only exception of this core."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def message(self) -> str:
        return self.problem.message

    @property
    def hint(self) -> str:
        return self.problem.hint


class Reason(Enum):
    """A row of the tables below: code, sentence, hint."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        self.code = code
        self.message = message
        self.hint = hint

    def problem(self, line: int | None = None, **facts: int) -> Problem:
        """The row as a problem, its figures filled in."""
        return _filled(self.code, self.message, self.hint, line, **facts)

    def error(self, **facts: int) -> KeyProblem:
        """The row as an exception, its figures filled in."""
        return KeyProblem(self.problem(**facts))


@unique
class Refusal(Reason):
    """Why a paste is not taken."""

    # The paste as a whole
    PRIVATE_KEY = (
        "private-key",
        "This is a private key. It has left your computer, so it is exposed: throw this key away now "
        "and make a new pair.",
        "Stop using this key everywhere. Make a new pair with `ssh-keygen -t ed25519` and paste only the "
        "file that ends in .pub. What you pasted is not kept.",
    )
    PASTE_TOO_LONG = (
        "paste-too-long",
        "This is too long: {length} bytes. At most {most} bytes are read.",
        "Paste only your public keys, one a line.",
    )
    TOO_MANY_LINES = (
        "too-many-lines",
        "There are {count} lines here. At most {most} are read.",
        "Paste only your public keys, one a line.",
    )
    TOO_MANY_KEYS = (
        "too-many-keys",
        "There are more than {most} different keys here. An account can have at most {most}.",
        "Leave out the keys that are no longer used.",
    )
    MORE_PROBLEMS = (
        "more-problems",
        "There may be more problems from this line on. They are not listed.",
        "Mend the problems above first, or paste only your public keys.",
    )
    CONTROL_CHARACTER = (
        "control-character",
        "There is a control character in this line, which no public key contains.",
        "Copy the key again from a plain text editor such as Notepad, not from a word processor.",
    )
    UTF16 = (
        "utf-16",
        "This is a file in the UTF-16 encoding, as PowerShell and Notepad write it, read the wrong way.",
        "Choose or drop the file itself on the box, or open it in Notepad, copy all of it, and paste it again.",
    )
    DOCUMENT = (
        "document",
        "This is a picture or a document, not the text of a public key.",
        COPY_AGAIN,
    )

    # Not a public key at all
    NOT_A_KEY = (
        "not-a-key",
        "This line is not a public key.",
        "A key is one line that begins with its type, for example ssh-ed25519. If this is the end of the "
        "line above, put both on one line. Otherwise remove it.",
    )
    HTML = (
        "html",
        "This is a piece of a web page, not a public key.",
        "Copy the text of the key, not the page around it. " + COPY_AGAIN,
    )
    FINGERPRINT = (
        "fingerprint",
        "This is the fingerprint of a key, not the key.",
        "A fingerprint only tells keys apart. " + COPY_AGAIN,
    )
    FILE_NAME = (
        "file-name",
        "This is the name of a file, not what is in it.",
        COPY_AGAIN,
    )
    PICTURE_NAME = (
        "picture-name",
        "This is the name of a picture or a document, not a public key.",
        "A picture of a key cannot be read. " + COPY_AGAIN,
    )
    WEB_ADDRESS = (
        "web-address",
        "This is a web address. Keys are not fetched from other sites.",
        "Open the address yourself, copy the key and paste it here. If this is the end of the line above, put both "
        "on one line.",
    )
    PROGRAM_OUTPUT = (
        "program-output",
        "This is a command or what a program printed, not a public key.",
        "The key is in the .pub file that the program made. " + COPY_AGAIN,
    )
    KNOWN_HOSTS = (
        "known-hosts",
        "This is a line of a known_hosts file: the key of a server, not yours.",
        "Your own public key is in a file that ends in .pub. " + COPY_AGAIN,
    )
    X509 = (
        "x509-certificate",
        "This is a certificate or a request for one, as web servers use. It is not an SSH public key.",
        NEW_PAIR,
    )
    PGP = (
        "pgp-key",
        "This is a PGP key. SFTP needs an SSH public key.",
        NEW_PAIR,
    )

    # Something is round the key, or missing from it
    OPTIONS = (
        "options",
        "There are options before the key. Options in a pasted line are not taken.",
        "Remove everything before the key type, so that the line begins for example with ssh-ed25519.",
    )
    TEXT_BEFORE_KEY = (
        "text-before-key",
        "There is other text before the key.",
        "Remove everything before the key type, so that the line begins for example with ssh-ed25519.",
    )
    TWO_KEYS_IN_LINE = (
        "two-keys-in-line",
        "There is a second key where the comment of this one should be.",
        "Put each key on a line of its own.",
    )
    TYPE_SPELLING = (
        "type-spelling",
        "The type at the beginning of this key is not written as it should be.",
        "Types are written in small letters with plain hyphens, for example ssh-rsa. " + COPY_AGAIN,
    )
    TYPE_MISSING = (
        "type-missing",
        "The first word of this key is missing, the one that says its type.",
        "If it comes from a private key file, make a new pair. Otherwise copy the whole line: it begins for example "
        "with ssh-rsa or ssh-ed25519.",
    )
    KEY_PART = (
        "key-part",
        "This is a piece of a key whose beginning is missing.",
        "If it comes from a private key file, make a new pair. Otherwise: " + COPY_AGAIN,
    )
    TRUNCATED = (
        "truncated",
        "The end of this key is missing, or there is a blank in the middle of it.",
        COPY_AGAIN,
    )
    JOIN_UNCERTAIN = (
        "join-uncertain",
        "This key was broken over several lines, and they do not fit together again.",
        "Copy it from the .pub file in a text editor with line wrapping turned off, as one line.",
    )
    RFC4716_UNFINISHED = (
        "rfc4716-unfinished",
        "This key does not stand between a BEGIN line and an END line of its own.",
        "Copy everything from ---- BEGIN SSH2 PUBLIC KEY ---- to ---- END SSH2 PUBLIC KEY ----, with its line breaks.",
    )
    PEM_UNFINISHED = (
        "pem-unfinished",
        "This key has a BEGIN line but no END line of its own.",
        "Copy everything from -----BEGIN to the END line, with its line breaks.",
    )
    PEM_UNREADABLE = (
        "pem-unreadable",
        "This key block cannot be read. Some of it may be missing or changed.",
        "Copy the whole block again with its line breaks, or paste the OpenSSH form: "
        "`ssh-keygen -i -m PKCS8 -f FILE` prints it.",
    )

    # The type
    DSA = (
        "dsa",
        "This is a DSA key. DSA is too weak and no server takes it any more.",
        NEW_PAIR,
    )
    CERTIFICATE = (
        "certificate",
        "This is an SSH certificate, not a plain public key.",
        "Paste the plain public key: the .pub file whose name does not end in -cert.pub.",
    )
    ED448 = (
        "ed448",
        "This is an Ed448 key. The SFTP server does not know this type.",
        NEW_PAIR,
    )
    SSH1 = (
        "ssh1",
        "This is a key for version 1 of SSH, which is no longer in use.",
        NEW_PAIR,
    )
    UNKNOWN_TYPE = (
        "unknown-type",
        "This type of key is not known here. RSA, ECDSA and Ed25519 keys are taken, also on security keys.",
        NEW_PAIR,
    )
    TYPE_MISMATCH = (
        "type-mismatch",
        "The type at the beginning of this line is not the type of the key after it.",
        "Two lines may have been mixed up. " + COPY_AGAIN,
    )

    # The bytes
    BAD_BASE64 = (
        "bad-base64",
        "There is a character in this key that cannot be part of one.",
        COPY_AGAIN,
    )
    BAD_PADDING = (
        "bad-padding",
        "This key has an equals sign too many or in the wrong place.",
        COPY_AGAIN,
    )
    TRAILING = (
        "trailing-data",
        "There is something behind the end of this key that does not belong to it.",
        "If it is the comment, put a blank before it. Otherwise copy the key again from the .pub file.",
    )
    NOT_CANONICAL = (
        "not-canonical",
        "This key is not written as the standard asks. It may have been changed.",
        COPY_AGAIN,
    )
    BAD_POINT = (
        "bad-point",
        "The numbers in this key do not fit together. A character may have been changed.",
        COPY_AGAIN,
    )
    WEAK_POINT = (
        "weak-point",
        "This key is one of the few that anybody could sign for.",
        NEW_PAIR,
    )
    BAD_CURVE = (
        "bad-curve",
        "This key names one curve in its type and another inside.",
        COPY_AGAIN,
    )
    BAD_MODULUS = (
        "bad-modulus",
        "This RSA key cannot be real: its modulus has a small factor. A character may have been changed.",
        COPY_AGAIN,
    )
    BAD_EXPONENT = (
        "bad-exponent",
        "This RSA key has an exponent that is not safe or not possible.",
        NEW_PAIR,
    )
    BAD_APPLICATION = (
        "bad-application",
        "This security key was made for something other than SSH.",
        "Make one for SSH with `ssh-keygen -t ed25519-sk`.",
    )

    # Policy
    RSA_TOO_SHORT = (
        "rsa-too-short",
        "This RSA key has {bits} bits. At least {minimum} are needed.",
        "Make a new pair: `ssh-keygen -t ed25519`, or `ssh-keygen -t rsa -b 3072` if it must be RSA.",
    )
    RSA_TOO_LONG = (
        "rsa-too-long",
        "This RSA key has {bits} bits. At most {maximum} can be used.",
        "Make a new pair: `ssh-keygen -t ed25519`, or `ssh-keygen -t rsa -b 4096` if it must be RSA.",
    )

    # Known to be weak: the private key can be had from the public one
    WEAK_KNOWN = (
        "weak-known",
        "The private half of this key has been published. Anybody can sign in with it.",
        "Stop using this key everywhere. " + NEW_PAIR,
    )
    WEAK_SMALL_FACTORS = (
        "weak-small-factors",
        "The modulus of this RSA key has a small factor, so anybody can work out its private half.",
        "If a character was changed on the way, copy the key again. Otherwise stop using it. " + NEW_PAIR,
    )
    WEAK_PRIME = (
        "weak-prime",
        "The modulus of this RSA key is not the product of two primes, so anybody can work out its private half.",
        "If a character was changed on the way, copy the key again. Otherwise stop using it. " + NEW_PAIR,
    )
    WEAK_ROCA = (
        "weak-roca",
        "This RSA key was made by a chip with a flaw (ROCA, CVE-2017-15361), so its private half can be worked out.",
        "Make a new key on a computer, not on that card. " + NEW_PAIR,
    )
    WEAK_FERMAT = (
        "weak-fermat",
        "The two primes of this RSA key are too close together, so anybody can work out its private half.",
        "The program that made it has a flaw: use another one. " + NEW_PAIR,
    )
    WEAK_PATTERN = (
        "weak-pattern",
        "The modulus of this RSA key repeats itself, which no good key does.",
        "The program that made it has a flaw: use another one. " + NEW_PAIR,
    )
    WEAK_POLYNOMIAL = (
        "weak-polynomial",
        "The modulus of this RSA key is full of zeros, so its private half can be worked out.",
        "The program that made it has a flaw: use another one. " + NEW_PAIR,
    )
    WEAK_BIAS = (
        "weak-bias",
        "The modulus of this RSA key is far from random, which no good key is.",
        "The program that made it has a flaw: use another one. " + NEW_PAIR,
    )
    WEAK_SHARED_PRIMES = (
        "weak-shared-primes",
        "This RSA key shares a prime with another key, so anybody who knows both can work out its private half.",
        "The device that made it had too little randomness: use another one. " + NEW_PAIR,
    )
    WEAK_XZ = (
        "weak-xz",
        "This key is built as a command to the xz back door (CVE-2024-3094) and serves no other end.",
        "Find out where it comes from before you use anything of that kind. " + NEW_PAIR,
    )


@unique
class Note(Reason):
    """What was done to a paste that is taken."""

    JOINED = (
        "joined",
        "This key was broken over several lines. They were joined.",
        "Nothing to do. Compare the fingerprint if you want to be sure.",
    )
    CONVERTED = (
        "converted",
        "This key was turned into the one-line form.",
        "Nothing to do. It is the same key.",
    )
    DUPLICATE = (
        "duplicate",
        "This key is here more than once. It is kept once.",
        "Nothing to do. The comment of its first line is kept.",
    )
    COMMENT_SHORTENED = (
        "comment-shortened",
        "The comment of this key was longer than {most} characters. It was cut.",
        "Nothing to do, or choose a shorter comment.",
    )
    LINES_LEFT_OUT = (
        "lines-left-out",
        "Lines that begin with # are not kept.",
        "To name a key, put the name behind it on the same line.",
    )


@unique
class Advice(Reason):
    """What is taken, but could be better."""

    P521 = (
        "advice-p521",
        "PuTTY 0.68 to 0.80 and programs built on it give away keys of this type (CVE-2024-31497).",
        "If this key was ever used with such a program, replace it: `ssh-keygen -t ed25519`.",
    )
    RSA_SHORT = (
        "advice-rsa-short",
        "This RSA key has {bits} bits. It works, but {advised} or more are better.",
        "Next time, make a pair with `ssh-keygen -t ed25519`.",
    )
    RSA_EXPONENT = (
        "advice-rsa-exponent",
        "This RSA key has an unusual exponent. It works, but some programs refuse it.",
        "Next time, make a pair with `ssh-keygen -t ed25519`.",
    )
    SECURITY_KEY = (
        "advice-security-key",
        "This is a security key: somebody must touch it at each sign-in.",
        "For jobs that run by themselves, add a key without touch: `ssh-keygen -t ed25519`.",
    )
    NO_COMMENT = (
        "advice-no-comment",
        "This key has no comment, so it is hard to tell from others.",
        "Put a blank and a name behind the key, for example the computer it is used on.",
    )
