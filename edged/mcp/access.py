"""Which tier a principal has.

Pure. The link says who is there, in the kernel's or the broker's words; the config and three defaults decide.
"""

from __future__ import annotations

from edged.mcp.catalog import Principal, Tier
from edged.mcp.config import AccessConfig


class Access:
    """The rule of `AccessConfig`, for a daemon that runs as `own_uid`."""

    def __init__(self, config: AccessConfig, own_uid: int) -> None:
        self._operators = {0, own_uid}
        self.adopt(config)

    def adopt(self, config: AccessConfig) -> None:
        """Judge by this config from now on; who is connected keeps the tier they came with."""
        self._tiers = {name: Tier[tier.upper()] for name, tier in config.principals.items()}

    def local(self, uid: int, groups: tuple[str, ...], socket_group: str | None) -> Principal:
        """A process on this board; `socket_group` is the group that owns the socket it came through."""
        name = f"uid:{uid}"
        return Principal(name, groups, self._tiers.get(name) or self._by_default(uid, groups, socket_group))

    def remote(self, client: str) -> Principal:
        """An MQTT client, whose id the broker's ACL guards."""
        name = f"mqtt:{client}"
        return Principal(name, (), self._tiers.get(name, Tier.READ))

    def _by_default(self, uid: int, groups: tuple[str, ...], socket_group: str | None) -> Tier:
        if uid in self._operators:
            return Tier.OPERATOR
        tiers = [self._tiers[f"group:{group}"] for group in groups if f"group:{group}" in self._tiers]
        if socket_group in groups and f"group:{socket_group}" not in self._tiers:
            tiers.append(Tier.ACT)
        return max(tiers, default=Tier.READ)
