"""What a list of wished accounts comes to, as a table."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from portal_host.judging import (
    Account,
    BadRequest,
    DropsTooMany,
    Limits,
    NotRenamed,
    Plan,
    Registered,
    Renaming,
    Taken,
    accounts_judge,
    rename_judge,
)
from portal_host.userfiles import Userfiles, foreign_lines, rendered

from hosts.core.errors import NotThere
from hosts.core.paths import username

LIMITS = Limits(uid_first=66000, uid_last=66999, drop_share=0.05, drop_least=0, allowed=2)
SYSTEM = Taken(frozenset({"root", "backup", "sftp-portal", "sudo"}), frozenset({0, 34, 66500}))
REGISTRY = {
    "a.example": Registered(66001),
    "b.example": Registered(66002),
    "former.example": Registered(66003, former=True),
}
# a.example was called one.example, then two.example; the dropped one was called once.example.
RENAMED = {
    **REGISTRY,
    "two.example": Registered(66001, former=True, renamed=True),
    "one.example": Registered(66001, former=True, renamed=True),
    "once.example": Registered(66003, former=True, renamed=True),
}


def wish(name: object, uid: object) -> dict[str, object]:
    return {"name": name, "uid": uid}


BOTH = [wish("a.example", 66001), wish("b.example", 66002)]


@dataclass(frozen=True)
class Row:
    """One list, held against REGISTRY."""

    what: str
    entries: object
    made: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


ROWS = [
    Row("the same again", BOTH),
    Row("a new one", [*BOTH, wish("c.example", 66004)], made=["c.example"]),
    Row("one dropped", BOTH[:1], removed=["b.example"]),
    Row("nothing at all, as many as root has allowed", [], removed=["a.example", "b.example"]),
    Row("a former one comes back", [*BOTH, wish("former.example", 66003)], made=["former.example"]),
    Row("a former one with a new number", [*BOTH, wish("former.example", 66009)], refused=["uid-changed"]),
    Row("a former one's number", [*BOTH, wish("c.example", 66003)], refused=["uid-of-another"]),
    Row("an active one's number", [*BOTH[:1], wish("c.example", 66002)], refused=["uid-of-another"]),
    Row("both with one number", [*BOTH, wish("c.example", 66002)], refused=["uid-twice", "uid-twice"]),
    Row("another number", [BOTH[0], wish("b.example", 66008)], refused=["uid-changed"]),
    Row("one name twice", [*BOTH, BOTH[0]], refused=["name-twice", "name-twice"]),
    Row("a new name twice", [*BOTH, *2 * [wish("c.example", 66004)]], refused=["name-twice"] * 2),
    Row("a path", [*BOTH, wish("../x", 66004)], refused=["bad-name"]),
    Row("an absolute path", [*BOTH, wish("/etc", 66004)], refused=["bad-name"]),
    Row("dots", [*BOTH, wish("..", 66004)], refused=["bad-name"]),
    Row("two dots inside", [*BOTH, wish("a..b", 66004)], refused=["bad-name"]),
    Row("a dot at the end", [*BOTH, wish("c.example.", 66004)], refused=["bad-name"]),
    Row("an option", [*BOTH, wish("-oProxyCommand=id", 66004)], refused=["bad-name"]),
    Row("a line end", [*BOTH, wish("c.example\nroot::0:0::/:/bin/sh", 66004)], refused=["bad-name"]),
    Row("a line end at the end", [*BOTH, wish("c.example\n", 66004)], refused=["bad-name"]),
    Row("a colon", [*BOTH, wish("c:0", 66004)], refused=["bad-name"]),
    Row("a NUL", [*BOTH, wish("c\0d", 66004)], refused=["bad-name"]),
    Row("300 characters", [*BOTH, wish("c" * 300, 66004)], refused=["bad-name"]),
    Row("an empty name", [*BOTH, wish("", 66004)], refused=["bad-name"]),
    Row("upper case", [*BOTH, wish("C.example", 66004)], refused=["bad-name"]),
    Row("digits of another script", [*BOTH, wish("٣.example", 66004)], refused=["bad-name"]),
    *(
        Row(f"the number {name}", [*BOTH, wish(name, 66004)], refused=["bad-name"])
        for name in ("0", "1000", "66004", "0.0", "10.0.0.1", "1-2", "0x0", "0xdead.beef", "0b1", "0o17", "1e5", "1e-5")
    ),
    *(
        Row(f"the name {name:.20}", [*BOTH, wish(name, 66004)], made=[name])
        for name in ("a", "0.a", "7e.us", "0xford.us", "123.k12.us", "1e5.de", f"{'9.' * 125}uss", "c" * 253)
    ),
    Row("no text", [*BOTH, wish(7, 66004)], refused=["bad-entry"]),
    Row("root", [*BOTH, wish("root", 66004)], refused=["name-of-system"]),
    Row("the portal", [*BOTH, wish("sftp-portal", 66004)], refused=["name-of-system"]),
    Row("a group of the system", [*BOTH, wish("sudo", 66004)], refused=["name-of-system"]),
    Row("number 0", [*BOTH, wish("c.example", 0)], refused=["uid-out-of-range"]),
    Row("a number below zero", [*BOTH, wish("c.example", -66004)], refused=["uid-out-of-range"]),
    Row("2**32", [*BOTH, wish("c.example", 2**32)], refused=["uid-out-of-range"]),
    Row("2**32 and more", [*BOTH, wish("c.example", 2**32 + 66004)], refused=["uid-out-of-range"]),
    Row("above the range", [*BOTH, wish("c.example", 67000)], refused=["uid-out-of-range"]),
    Row("a number of the system", [*BOTH, wish("c.example", 66500)], refused=["uid-of-system"]),
    Row("true", [*BOTH, wish("c.example", True)], refused=["bad-uid"]),
    Row("a broken number", [*BOTH, wish("c.example", 66004.0)], refused=["bad-uid"]),
    Row("digits", [*BOTH, wish("c.example", "66004")], refused=["bad-uid"]),
    Row("no number", [*BOTH, wish("c.example", None)], refused=["bad-uid"]),
    Row("more than name and number", [*BOTH, {**wish("c.example", 66004), "shell": "/bin/sh"}], refused=["bad-entry"]),
    Row("no object", [*BOTH, ["c.example", 66004]], refused=["bad-entry"]),
    Row("an active one's entry is broken", [BOTH[0], wish("b.example", "x")], refused=["bad-uid"]),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_list_comes_to_what_the_table_says(row: Row) -> None:
    plan = accounts_judge(row.entries, REGISTRY, SYSTEM, LIMITS)
    assert [account.name for account in plan.made] == row.made
    assert [account.name for account in plan.removed] == row.removed
    assert [refusal.code for refusal in plan.refused] == row.refused
    assert [account.name for account in plan.kept] == [
        name for name in ("a.example", "b.example") if name not in row.removed
    ]


OLD_NAMES = [
    Row("the names of today", BOTH),
    Row("an old name", [wish("two.example", 66001), BOTH[1]], refused=["renamed"]),
    Row("a name from before that", [wish("one.example", 66001), BOTH[1]], refused=["renamed"]),
    Row("the old name beside the new one", [*BOTH, wish("one.example", 66001)], refused=["uid-twice", "uid-twice"]),
    Row("an old name with a new number", [*BOTH, wish("one.example", 66009)], refused=["uid-changed"]),
    Row("an old name of a dropped one", [*BOTH, wish("once.example", 66003)], refused=["renamed"]),
    Row("a dropped one under its last name", [*BOTH, wish("former.example", 66003)], made=["former.example"]),
]


@pytest.mark.parametrize("row", OLD_NAMES, ids=lambda row: row.what)
def test_a_list_from_before_a_rename_neither_drops_nor_doubles_the_account(row: Row) -> None:
    plan = accounts_judge(row.entries, RENAMED, SYSTEM, LIMITS)
    assert [account.name for account in plan.made] == row.made
    assert not plan.removed
    assert [refusal.code for refusal in plan.refused] == row.refused
    assert [account.name for account in plan.kept] == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("what", "old", "new", "uid", "now", "before"),
    [
        ("a new name", "b.example", "new.example", 66002, "b.example", ["b.example"]),
        ("a third name", "a.example", "n.example", 66001, "a.example", ["a.example", "one.example", "two.example"]),
        ("done already", "two.example", "a.example", 66001, "a.example", ["one.example", "two.example"]),
        ("back again", "a.example", "two.example", 66001, "a.example", ["a.example", "one.example"]),
        ("heard of late", "one.example", "n.example", 66001, "a.example", ["a.example", "one.example", "two.example"]),
        ("a dropped one", "former.example", "n.example", 66003, "former.example", ["former.example", "once.example"]),
    ],
)
def test_an_account_is_renamed_whatever_it_was_called(
    what: str, old: str, new: str, uid: int, now: str, before: list[str]
) -> None:
    told = rename_judge(old, new, uid, RENAMED, SYSTEM, LIMITS)
    assert told == Renaming(Account(new, uid), now, RENAMED[now].former, tuple(before)), what


@pytest.mark.parametrize(
    ("old", "new", "uid", "code"),
    [
        ("never.example", "new.example", 66001, "not-there"),
        ("a.example", "new.example", 66002, "uid-changed"),
        ("one.example", "new.example", 66002, "uid-changed"),
        ("a.example", "b.example", 66001, "name-of-another"),
        ("a.example", "former.example", 66001, "name-of-another"),
        ("a.example", "once.example", 66001, "name-of-another"),
        ("a.example", "root", 66001, "name-of-system"),
        ("a.example", "../x", 66001, "bad-name"),
        ("../x", "new.example", 66001, "bad-name"),
        ("root", "new.example", 66001, "not-there"),
        ("root", "new.example", 0, "uid-out-of-range"),
        ("a.example", "new.example", 66500, "uid-of-system"),
        ("a.example", "x\nroot:x:0:0", 66001, "bad-name"),
        ("a.example", "x" * 254, 66001, "bad-name"),
        ("a.example", "0", 66001, "bad-name"),
        ("a.example", "0x0", 66001, "bad-name"),
        ("a.example", "a.example", 66001, "bad-request"),
    ],
)
def test_a_rename_that_is_not_to_be_is_refused(old: str, new: str, uid: int, code: str) -> None:
    with pytest.raises((NotRenamed, NotThere, BadRequest)) as refused:
        rename_judge(old, new, uid, RENAMED, SYSTEM, LIMITS)
    assert refused.value.code == code


def test_an_account_whose_name_is_a_number_can_be_given_another() -> None:
    registry = {"0": Registered(66001)}
    assert rename_judge("0", "zero.example", 66001, registry, SYSTEM, LIMITS).now == "0"


@pytest.mark.parametrize("entries", [None, {}, "a.example", 7, [{}] * 50_001], ids=lambda value: type(value).__name__)
def test_what_is_no_list_is_refused_whole(entries: object) -> None:
    with pytest.raises(BadRequest):
        accounts_judge(entries, REGISTRY, SYSTEM, LIMITS)


@pytest.mark.parametrize(
    ("active", "dropped", "allowed", "passes"),
    [
        (10, 2, 0, True),
        (10, 3, 0, False),
        (100, 5, 0, True),
        (100, 6, 0, False),
        (100, 6, 6, True),
        (100, 7, 6, False),
        (100, 100, 0, False),
        # Of a few, half at most; the last one may go.
        (4, 2, 0, True),
        (3, 1, 0, True),
        (3, 2, 0, False),
        (2, 2, 0, False),
        (2, 2, 2, True),
        (1, 1, 0, True),
    ],
)
def test_a_list_that_drops_too_many_is_refused_whole(active: int, dropped: int, allowed: int, passes: bool) -> None:
    registry = {f"d{number}": Registered(66001 + number) for number in range(active)}
    entries = [wish(name, one.uid) for name, one in list(registry.items())[dropped:]]
    limits = Limits(66000, 66999, drop_share=0.05, drop_least=2, allowed=allowed)
    if passes:
        assert len(accounts_judge(entries, registry, SYSTEM, limits).removed) == dropped
    else:
        with pytest.raises(DropsTooMany, match=f"allow-drop {dropped}"):
            accounts_judge(entries, registry, SYSTEM, limits)


def after(registry: dict[str, Registered], dropped: int, at: int) -> dict[str, Registered]:
    """The first so many of those that are active have been dropped."""
    gone = [name for name, one in registry.items() if not one.former][:dropped]
    return {**registry, **{name: replace(registry[name], former=True, dropped=at) for name in gone}}


def dropping(registry: dict[str, Registered], count: int, limits: Limits) -> None:
    active = [name for name, one in registry.items() if not one.former]
    entries = [wish(name, registry[name].uid) for name in active[count:]]
    assert len(accounts_judge(entries, registry, SYSTEM, limits).removed) == count


def test_many_lists_drop_together_no_more_than_one_may() -> None:
    limits = Limits(66000, 66999, drop_share=0.05, drop_least=20, lately=1000)
    twenty = {f"d{number}": Registered(66001 + number) for number in range(20)}
    dropping(twenty, 10, limits)
    with pytest.raises(DropsTooMany, match=r"drop 1 of 10 accounts, after 10 that .* allow-drop 1$"):
        dropping(after(twenty, 10, at=1001), 1, limits)
    dropping(after(twenty, 10, at=1001), 0, limits)
    dropping(after(twenty, 8, at=1001), 2, limits)
    # A day later, or by root's leave.
    dropping(after(twenty, 10, at=1000), 5, limits)
    dropping(after(twenty, 10, at=1001), 5, replace(limits, allowed=5))
    dropping(after(twenty, 10, at=0), 5, replace(limits, lately=0))


def test_accounts_that_came_lately_make_no_room_to_drop_the_others() -> None:
    limits = Limits(66000, 99999, drop_share=0.05, drop_least=20, lately=1000)
    old = {f"d{number}": Registered(66001 + number, since=1000) for number in range(300)}
    new = {f"n{number}": Registered(70001 + number, since=1001) for number in range(20_000)}
    dropping({**old, **new}, 20, limits)
    with pytest.raises(DropsTooMany, match=r"drop 21 of 300 accounts that were there a day ago: more .* 21$"):
        dropping({**old, **new}, 21, limits)
    with pytest.raises(DropsTooMany, match=r"drop 1 of 280 accounts that .*, after 20 that .* allow-drop 1$"):
        dropping({**after(old, 20, at=1001), **new}, 1, limits)
    dropping({**old, **new}, 300, replace(limits, allowed=300))
    # All of them are new: then they count as all.
    dropping(new, 1000, limits)
    with pytest.raises(DropsTooMany):
        dropping(new, 1001, limits)


def test_who_came_back_or_has_another_name_counts_once() -> None:
    limits = Limits(66000, 66999, drop_share=0.05, drop_least=20, lately=1000)
    twenty = {f"d{number}": Registered(66001 + number) for number in range(20)}
    dropped = after(twenty, 4, at=1001)
    back = {name: replace(one, former=False) for name, one in dropped.items()}
    dropping(back, 10, limits)
    renamed = {**dropped, "old": Registered(66001, former=True, renamed=True, dropped=1001)}
    dropping(renamed, 6, limits)
    with pytest.raises(DropsTooMany):
        dropping(renamed, 7, limits)


names = st.sampled_from(["a.example", "b.example", "former.example", "c.example", "root", "../x", "", 7])
uids = st.one_of(st.integers(66000, 66010), st.sampled_from([0, -1, 2**40, True, "66001", None, 66500]))


@given(st.lists(st.builds(wish, names, uids), max_size=8))
def test_whatever_is_listed_nobody_gets_a_number_that_is_not_his(entries: list[object]) -> None:
    plan = accounts_judge(entries, REGISTRY, SYSTEM, LIMITS)
    given_out = [*plan.made, *plan.kept]
    assert len({account.uid for account in given_out}) == len({account.name for account in given_out})
    for account in given_out:
        assert username(account.name) not in SYSTEM.names
        assert account.uid not in SYSTEM.numbers
        assert 66000 <= account.uid <= 66999
        assert REGISTRY.get(account.name, Registered(account.uid)).uid == account.uid
        assert {name for name, one in REGISTRY.items() if one.uid == account.uid} <= {account.name}
    mentioned = {entry["name"] for entry in entries if isinstance(entry, dict) and isinstance(entry["name"], str)}
    assert not {account.name for account in plan.removed} & mentioned


@given(st.lists(st.builds(wish, names, uids), max_size=8))
def test_the_same_list_again_changes_nothing(entries: list[object]) -> None:
    plan = accounts_judge(entries, REGISTRY, SYSTEM, LIMITS)
    again = accounts_judge(entries, _after(plan), SYSTEM, LIMITS)
    assert not again.made
    assert not again.removed


def _after(plan: Plan) -> dict[str, Registered]:
    changed = {account.name: Registered(account.uid) for account in plan.made}
    return {**REGISTRY, **changed, **{one.name: Registered(one.uid, former=True) for one in plan.removed}}


def test_lines_of_others_are_kept_and_ours_are_made_anew() -> None:
    theirs = Userfiles(b"kiosk:x:2000:2000::/:/bin/false\n", b"kiosk:x:2000:\n", b"kiosk:*:1::::::\n")
    full = rendered([Account("b.example", 66002), Account("a.example", 66001)], theirs)
    assert full.passwd.splitlines() == [
        b"kiosk:x:2000:2000::/:/bin/false",
        b"a.example:x:66001:66001::/nonexistent:/usr/sbin/nologin",
        b"b.example:x:66002:66002::/nonexistent:/usr/sbin/nologin",
    ]
    assert full.group.splitlines()[1:] == [b"sftpacct-66001:x:66001:", b"sftpacct-66002:x:66002:"]
    assert full.shadow.splitlines()[1:] == [b"a.example:*:1:0:99999:7:::", b"b.example:*:1:0:99999:7:::"]
    assert foreign_lines(full, 66000, 66999, ()) == theirs
    # A line of shadow that a stopped run left behind is ours by its name alone.
    left = Userfiles(theirs.passwd, theirs.group, theirs.shadow + b"a.example:*:1:0:99999:7:::\n")
    assert foreign_lines(left, 66000, 66999, ["a.example"]) == theirs
