"""A mosquitto that guards MCP's topics: who connects is who the user name says, and clients own their client id."""

from __future__ import annotations

from pathlib import Path

from tests.rig.broker import Broker, free_port

# A device may hear its own presence, or it could not tell another with its id; a client's name is its client id.
ACL = """\
pattern read $mcp-server/%u/#
pattern readwrite $mcp-server/presence/%u/#
pattern write $mcp-server/capability/%u/#
pattern readwrite $mcp-rpc/+/%u/#
pattern read $mcp-client/presence/+
pattern readwrite $mcp-rpc/%u/#
pattern write $mcp-client/presence/%u
{agents}
"""
AGENT = """\
user {name}
topic read $mcp-server/presence/#
topic read $mcp-server/capability/#
topic write $mcp-server/+/edged/#
"""


class GuardedBroker(Broker):
    """On a loopback port, without passwords: whoever names a user is taken for it."""

    def __init__(self, home: Path, *agents: str, extra: str = "") -> None:
        home.mkdir(parents=True, exist_ok=True)
        acl = home / "acl"
        acl.write_text(ACL.format(agents="".join(AGENT.format(name=name) for name in agents)))
        acl.chmod(0o600)
        conf = (
            f"persistence false\n{extra}\nlistener {{port}} 127.0.0.1\nallow_anonymous true\nacl_file {acl}\n"
        )
        super().__init__(home, conf, free_port())

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"
