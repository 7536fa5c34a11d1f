from __future__ import annotations

import msgspec
import pytest

from edged.mcp.access import Access
from edged.mcp.catalog import Tier
from edged.mcp.config import AccessConfig

CONFIG: dict[str, dict[str, str]] = {
    "principals": {
        "uid:5": "read",
        "uid:6": "operator",
        "group:admins": "operator",
        "group:guests": "read",
        "mqtt:agent-7": "act",
    }
}


@pytest.mark.parametrize(
    ("uid", "groups", "tier"),
    [
        (0, (), Tier.OPERATOR),
        (900, (), Tier.OPERATOR),
        (1000, ("edged",), Tier.ACT),
        (1000, ("users",), Tier.READ),
        (1000, (), Tier.READ),
        (1000, ("guests", "admins"), Tier.OPERATOR),
        (1000, ("guests", "edged"), Tier.ACT),
        (5, ("admins", "edged"), Tier.READ),
        (6, (), Tier.OPERATOR),
    ],
)
def test_a_local_principal_has_its_own_entry_or_the_best_of_its_groups(
    uid: int, groups: tuple[str, ...], tier: Tier
) -> None:
    access = Access(msgspec.convert(CONFIG, AccessConfig), own_uid=900)
    principal = access.local(uid, groups, "edged")
    assert principal == (f"uid:{uid}", groups, tier)


def test_the_config_may_lower_the_sockets_group_and_even_root() -> None:
    config = msgspec.convert({"principals": {"group:edged": "read", "uid:0": "read"}}, AccessConfig)
    access = Access(config, own_uid=900)
    assert access.local(1000, ("edged",), "edged").tier is Tier.READ
    assert access.local(0, (), "edged").tier is Tier.READ


def test_a_socket_that_is_its_users_alone_gives_no_group_anything() -> None:
    assert Access(AccessConfig(), 900).local(1000, ("users",), None).tier is Tier.READ


def test_a_remote_principal_reads_until_configured() -> None:
    access = Access(msgspec.convert(CONFIG, AccessConfig), own_uid=900)
    assert access.remote("agent-7") == ("mqtt:agent-7", (), Tier.ACT)
    assert access.remote("agent-8").tier is Tier.READ


@pytest.mark.parametrize("name", ["root", "uid:x", "user:1", "mqtt:a/#", "group:"])
def test_a_principal_that_cannot_exist_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"principals": {name: "read"}}, AccessConfig)
