"""Who may do what."""

import pytest

from accounts.core.roles import DISTRICT_ROLES, RIGHTS, STAFF_ROLES, Right, Role, Tool, may

DISTRICTS = (Tool.TECHNICAL_SETTINGS, Tool.UPLOADS, Tool.FILE_SETTINGS, Tool.TRIALS, Tool.DOWNLOADS, Tool.SIGN_IN)


def test_every_role_stands_in_the_table() -> None:
    assert set(RIGHTS) == set(Role) == {*DISTRICT_ROLES, *STAFF_ROLES}


def test_the_table_uses_the_four_rights_only() -> None:
    letters = {letter for tools in RIGHTS.values() for told in tools.values() for letter in told}
    assert letters <= {right.value for right in Right}


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.DISTRICT_ADMINISTRATOR])
def test_only_a_district_administrator_may_name_and_restrict_keys(role: Role) -> None:
    assert not may(role, Tool.TECHNICAL_SETTINGS, Right.WRITE)


@pytest.mark.parametrize("role", Role)
def test_keys_are_added_and_removed_by_administrators_and_staff_only(role: Role) -> None:
    told = {may(role, Tool.TECHNICAL_SETTINGS, right) for right in (Right.ADD, Right.DELETE)}
    assert told == {role is not Role.DISTRICT_VIEWER}


@pytest.mark.parametrize("role", Role)
def test_downloads_are_fetched_by_administrators_of_the_district_only(role: Role) -> None:
    rights = {right for right in Right if may(role, Tool.DOWNLOADS, right)}
    assert rights == ({Right.READ, Right.WRITE} if role is Role.DISTRICT_ADMINISTRATOR else {Right.READ})


def test_a_district_administrator_may_change_keys() -> None:
    assert may(Role.DISTRICT_ADMINISTRATOR, Tool.TECHNICAL_SETTINGS, Right.WRITE)


@pytest.mark.parametrize("role", DISTRICT_ROLES)
@pytest.mark.parametrize("tool", [tool for tool in Tool if tool not in DISTRICTS])
def test_districts_have_no_staff_tool(role: Role, tool: Tool) -> None:
    assert not any(may(role, tool, right) for right in Right)
