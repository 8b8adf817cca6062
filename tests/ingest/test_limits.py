"""Limits: how many are allowed, and which of several counts."""

from datetime import date
from decimal import Decimal

import pytest

from ingest.core.diff import What
from ingest.core.limits import GuardLimits, Limit, Raise, Standing

TODAY = date(2026, 8, 20)


def limit(percent, floor=0) -> Limit:
    return Limit(Decimal(str(percent)), floor)


@pytest.mark.parametrize(
    ("percent", "floor", "base", "allowed"),
    [
        (10, 0, 1000, 100),
        (10, 0, 1009, 100),
        (10, 5, 10, 5),
        (10, 5, 50, 5),
        (10, 5, 60, 6),
        ("0.1", 0, 3000, 3),
        ("0.7", 0, 1000, 7),
        (0, 0, 1000, 0),
        (0, 40, 1000, 40),
        (100, 0, 7, 7),
        (-1, 0, 1000, None),
        (-1, 9, 0, None),
    ],
)
def test_so_many_are_allowed(percent, floor, base, allowed):
    assert limit(percent, floor).allowed(base) == allowed


def raised(percent, first=1, last=31, table="", what=What.REMOVED) -> Raise:
    return Raise(what, limit(percent), date(2026, 8, first), date(2026, 8, last), table)


def standing(percent, table="", what=What.REMOVED) -> Standing:
    return Standing(what, limit(percent), table)


PRECEDENCE = [
    pytest.param((), (), 100, None, id="the usual one"),
    pytest.param((standing(20),), (), 200, None, id="the district's own"),
    pytest.param((standing(5),), (), 50, None, id="the district's own, stricter"),
    pytest.param((standing(20), standing(30, "t")), (), 300, None, id="the table's before all tables'"),
    pytest.param((standing(20, "t"), standing(30)), (), 200, None, id="the table's, stricter"),
    pytest.param((standing(20, "other"),), (), 100, None, id="another table's"),
    pytest.param((standing(20, what=What.ADDED),), (), 100, None, id="another kind's"),
    pytest.param((standing(20), standing(30)), (), 200, None, id="the strictest of the same place"),
    pytest.param((), (raised(60),), 600, date(2026, 8, 31), id="a raise"),
    pytest.param((), (raised(60, last=19),), 100, None, id="a raise that is over"),
    pytest.param((), (raised(60, first=21),), 100, None, id="a raise to come"),
    pytest.param((), (raised(60, first=20, last=20),), 600, date(2026, 8, 20), id="a raise of one day"),
    pytest.param((), (raised(60), raised(40, last=25)), 400, date(2026, 8, 25), id="the strictest of two raises"),
    pytest.param((), (raised(60), raised(40, table="t")), 400, date(2026, 8, 31), id="the table's raise"),
    pytest.param((), (raised(5),), 100, None, id="a raise never makes it stricter"),
    pytest.param((standing(-1),), (raised(60),), None, None, id="what is off is not raised"),
    pytest.param((), (raised(-1),), None, date(2026, 8, 31), id="a raise to any number"),
    pytest.param((standing(30, "t"),), (raised(50),), 500, date(2026, 8, 31), id="a raise for all over a table's own"),
]


@pytest.mark.parametrize(("own", "raises", "allowed", "until"), PRECEDENCE)
def test_of_several_limits_this_one_counts(own, raises, allowed, until):
    found = GuardLimits(standing=own, raises=raises).applying(What.REMOVED, "t", 1000, TODAY)
    assert (found.allowed, found.raised_until) == (allowed, until)


def test_without_any_limit_any_number_is_allowed():
    assert GuardLimits(usual=()).applying(What.ADDED, "t", 10, TODAY).allowed is None
