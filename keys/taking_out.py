"""Taking keys and foreign lines out of a file on a host that is not written anew: what is left, and what is kept of
them.

Three files are treated so: one under a name that its account had before, one that waits for a decision, and a newer set
than our database knows. Which lines stay differs; how they are taken out does not.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.utils import timezone

from accounts.core.roles import Role
from accounts.models import District, SftpAccount
from accounts.notices import administrators_of, notice_send, staff_in
from hosts.core import paths
from hosts.core.errors import HostError, NotSafe, NotThere, Refused, TooLarge
from hosts.files import FileRead, HostFiles
from hosts.keyplace import read_ours
from hosts.models import Host

from .core import authorized_keys
from .core.authorized_keys import Entry
from .core.drift import Asked, Difference, FoundLine, as_left, difference, digest_of, foreign_lines, too_large
from .models import FoundLine as FoundLineRow
from .models import KeyFile, KeySet, LostKey
from .selectors import is_newer
from .wanted import Wanted

# No authorized_keys file of ours comes near this; what is larger is not ours.
LARGEST_FILE = 4 * 1024 * 1024
NOT_KEPT = "The host answered, but the file read back is not what was written. We try again."
NEWER_THERE = "The SFTP host has a newer list of keys than our records. Our staff look at it; nothing is lost."
# What is met in a key file's place when there is nothing of ours in it to lose.
_REPLACED = (NotThere, TooLarge, Refused, NotSafe)
# Whatever removes keys for these reasons was asked for by somebody, whichever keys they are.
_ANY_KEY = {KeySet.Cause.ACCOUNT, KeySet.Cause.NETWORKS, KeySet.Cause.SETTLED}
_ONE_BY_ONE = (KeySet.Cause.REMOVED, KeySet.Cause.DISABLED, KeySet.Cause.RETIRED)


class ReadBackDiffers(HostError):
    """The host did not keep what was written."""

    code = "read-back-differs"
    retry = True


class NewerOnHost(HostError):
    """The host has a set of keys that this database does not know: an older database was restored."""

    code = "newer-on-host"

    def __init__(self) -> None:
        super().__init__(NEWER_THERE)


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a file; `foreign`: lines that go into the quarantine."""

    entries: tuple[Entry, ...]
    foreign: tuple[FoundLine, ...] = ()


@dataclass(slots=True)
class TakingOut:
    """At the files of one host. `drifted`: accounts in whose files, under whichever name, foreign lines were met."""

    host: Host
    files: HostFiles
    drifted: set[int] = field(default_factory=set)

    def asked_for(self, path: paths.HostPath, one: Wanted, *, most_unasked: int) -> None:
        """What is to go from a file under a name that the account had before goes; what stays works on. Nothing, if
        more would go than that although nobody asked, or if people decide first."""
        there = content_at(self.files, path)
        stamp = authorized_keys.stamp_of(there)
        if stamp is not None and is_newer(one.forgiven_tokens, stamp):
            return
        found = difference(there, one.content, one.known, asked_since([one]).get(one.account_pk, Asked()))
        if not (found.removed or found.foreign):
            return
        if len(found.unasked) > most_unasked:
            if found.foreign:
                self._take_out(path, one, there, _held(one, there, found))
            return
        staying = {entry.key.fingerprint for entry in _entries(there)}
        entries = tuple(entry for entry in _entries(one.content) if entry.key.fingerprint in staying)
        self._take_out(path, one, there, Rest(entries, found.foreign))

    def asked_for_of_held(self, one: Wanted, there: bytes, found: Difference, *, token: str) -> int:
        """Of a file that must wait for a decision: what is foreign, and what somebody asked to remove, goes at once;
        the rest stays as it is. Returns how many keys went."""
        path = paths.key_file(paths.username(one.username))
        self._take_out(path, one, there, _held(one, there, found), token=token)
        return len(set(found.removed) - set(found.unasked))

    def undisputed(self, path: paths.HostPath, one: Wanted, there: bytes) -> tuple[Entry, ...]:
        """Of a set on the host that waits for a decision: what waits for none goes. What is left."""
        entries = entries_staying(one, there)
        self._take_out(path, one, there, Rest(entries, foreign_lines(there)))
        return entries

    def _take_out(self, path: paths.HostPath, one: Wanted, there: bytes, rest: Rest, *, token: str = "") -> None:
        """Leaves the rest under the stamp that the file has; one that loses nothing is not touched.

        `token`: of the lease under which it is noted that the file is still as we left it: else what nobody asked to
        remove would be foreign to the next who looks. That is said before it is written, too: which of both the next
        one finds, nobody knows who dies between.
        """
        self.keep(path, one, rest.foreign)
        loses = bool(rest.foreign) or len(rest.entries) < len(_entries(there))
        content = authorized_keys.render(rest.entries, authorized_keys.stamp_of(there)) if loses else there
        noted = KeyFile.objects.filter(pk=one.file_pk, lease_token=token) if token else KeyFile.objects.none()
        # With what is foreign in it the file is not as we left it: of that, the digest tells already.
        as_left = {} if rest.foreign else {"digest": digest_of(there)}
        is_noted = noted.update(**as_left, next_digest=digest_of(content))
        if loses and (is_noted or not token):
            written(self.files, path, content)
        noted.update(digest=digest_of(content), next_digest="")

    def look_for_newer(self, path: paths.HostPath, one: Wanted, there: bytes) -> None:
        """Raises NewerOnHost if the host has a set this database has never heard of; notes what is in it.

        That set stays, but for what cannot wait for a decision.
        """
        stamp = authorized_keys.stamp_of(there)
        if stamp is None or not is_newer(one.forgiven_tokens, stamp):
            return
        prints = [each.key.fingerprint for each in self.undisputed(path, one, there)]
        told = {"version": stamp.version, "token": stamp.token, "fingerprints": prints}
        if not KeyFile.objects.filter(pk=one.file_pk, found=told).exists():
            KeyFile.objects.filter(pk=one.file_pk).update(found=told)
            account = SftpAccount.objects.select_related("district").get(pk=one.account_pk)
            about = f"newer-on-host-{one.account_pk}-{stamp.token}"
            to = staff_in(Role.OPS, Role.SYSTEM_ADMINISTRATOR)
            notice_send("keys-newer-on-host", to, {"account": account}, about=about)
        raise NewerOnHost

    def keep(self, path: paths.HostPath, one: Wanted, lines: tuple[FoundLine, ...]) -> None:
        """Puts foreign lines into the quarantine, and tells of them."""
        if lines:
            self.drifted.add(one.account_pk)
            rows = found_rows(self.host, one.account_pk, path.name, lines)
            FoundLineRow.objects.bulk_create(rows, ignore_conflicts=True)
            _tell_found(self.host, one.account_pk, lines)

    def keep_too_large(self, path: paths.HostPath, one: Wanted) -> None:
        """The same of a whole file that is too large to be read: no account of ours can have one."""
        self.keep(path, one, (too_large(LARGEST_FILE),))


def _tell_found(host: Host, account_pk: int, lines: tuple[FoundLine, ...]) -> None:
    """Tells the district and ops, once a day for the same lines."""
    account = SftpAccount.objects.select_related("district").get(pk=account_pk)
    digest = hashlib.sha256(b"\n".join(line.raw for line in lines)).hexdigest()[:32]
    about = f"found-{account_pk}-{digest}-{timezone.now():%Y%m%d}"
    context = {"account": account, "host": host, "lines": lines}
    notice_send("key-found", administrators_of(account.district), context, about=about, district=account.district)
    notice_send("key-found", staff_in(Role.OPS), context, about=about, district=account.district)


def found_rows(host: Host, account_pk: int | None, username: str, lines: Iterable[FoundLine]) -> Iterator[FoundLineRow]:
    """Rows for the quarantine."""
    for line in lines:
        yield FoundLineRow(
            host=host,
            account_id=account_pk,
            username=username[:253],
            line=line.raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00"),
            line_digest=hashlib.sha256(line.raw).hexdigest(),
            fingerprint=line.fingerprint,
            label=line.label,
        )


def entries_staying(one: Wanted, there: bytes) -> tuple[Entry, ...]:
    """What is left of a host's own set: lines that are in no set go, keys that the account has reported lost, and those
    that were taken out one by one since the last set known of the host (whoever saves the whole box means the keys that
    come with it, too); of a district that is suspended or closed all go."""
    if not District.objects.filter(sftp_account=one.account_pk, state=District.State.ACTIVE).exists():
        return ()
    going = set(LostKey.objects.filter(account=one.account_pk).values_list("fingerprint", flat=True))
    wished = {each.key.fingerprint for each in _entries(one.content)}
    since = KeySet.objects.filter(account=one.account_pk, version__gt=one.known.version, cause__in=_ONE_BY_ONE)
    facts = (fact for removed, changed in since.values_list("removed", "changed") for fact in (*removed, *changed))
    going |= {fact["fingerprint"] for fact in facts} - wished
    return tuple(each for each in _entries(there) if each.key.fingerprint not in going)


def _held(one: Wanted, there: bytes, found: Difference) -> Rest:
    """What stays of a file that would lose keys which nobody asked to remove, while it waits for a decision: lines as
    we left them, and no other's, be it for the same key."""
    going = set(found.removed) - set(found.unasked)
    left = authorized_keys.entries_in(as_left(there, one.known))
    return Rest(tuple(each for each in left if each.key.fingerprint not in going), found.foreign)


def _entries(content: bytes) -> tuple[Entry, ...]:
    return authorized_keys.entries_in(authorized_keys.read(content))


def content_at(files: HostFiles, path: paths.HostPath) -> bytes:
    """What stands at a key file's place; empty if there is nothing that says which set it is."""
    return content_of(found_at(files, path))


def found_at(files: HostFiles, path: paths.HostPath) -> FileRead | HostError:
    """The file at a key file's place, or why there is none."""
    ((_, found),) = read_ours(files, [path], LARGEST_FILE)
    return found


def content_of(found: FileRead | HostError) -> bytes:
    """As `content_at`. Raises what says nothing of the file."""
    if isinstance(found, FileRead):
        return found.content
    if not isinstance(found, _REPLACED):
        raise found
    return b""


def written(files: HostFiles, path: paths.HostPath, content: bytes) -> None:
    """Writes one file and reads it back. Raises ReadBackDiffers, HostError."""
    files.write(path, content)
    if files.read(path, LARGEST_FILE) != content:
        raise ReadBackDiffers(NOT_KEPT)


def asked_since(files: Iterable[Wanted]) -> dict[int, Asked]:
    """By account what was asked for since the set its host had when the files were looked up: another worker may have
    brought a newer one since. Of at most some thousand accounts at once."""
    known = [(one.account_pk, one.known.version) for one in files]
    if not known:
        return {}
    rows = ", ".join(["(%s, %s)"] * len(known))
    sets = KeySet.objects.raw(_SETS_SINCE.format(rows=rows), [number for pair in known for number in pair])
    prints: dict[int, set[str]] = {}
    everything: set[int] = set()
    for one in sets:
        if one.cause in _ANY_KEY:
            everything.add(one.account_id)
        prints.setdefault(one.account_id, set()).update(fact["fingerprint"] for fact in (*one.removed, *one.changed))
    return {
        account_pk: Asked(frozenset(prints.get(account_pk, ())), account_pk in everything)
        for account_pk in prints.keys() | everything
    }


# By account and version, as the index has them: of a long history only what is new is read.
_SETS_SINCE = """
WITH seen (account_id, version) AS (VALUES {rows})
SELECT sets.id, sets.account_id, sets.cause, sets.removed, sets.changed
FROM seen JOIN keys_keyset AS sets ON sets.account_id = seen.account_id AND sets.version > seen.version"""
