"""The table of methods of each era.

Pure. A new method is one function and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from edged.mcp.conversation import Conversation
from edged.mcp.methods import general, prompts, resources, tasks, tools
from edged.mcp.request import Request

if TYPE_CHECKING:  # the server imports these tables
    from edged.mcp.server import Server

Run: TypeAlias = Callable[["Server", Conversation, Request], None]

_BOTH: Final[dict[str, Run]] = {
    "tools/list": general.list_tools,
    "tools/call": tools.call_tool,
    "resources/list": general.list_resources,
    "resources/templates/list": general.list_templates,
    "resources/read": resources.read,
    "prompts/list": general.list_prompts,
    "prompts/get": prompts.get,
    "completion/complete": prompts.complete,
}
LEGACY: Final[dict[str, Run]] = _BOTH | {
    "initialize": general.initialize,
    "ping": general.ping,
    "logging/setLevel": general.set_level,
    "resources/subscribe": resources.subscribe,
    "resources/unsubscribe": resources.unsubscribe,
}
MODERN: Final[dict[str, Run]] = _BOTH | {
    "server/discover": general.discover,
    "subscriptions/listen": resources.listen,
    "tasks/get": tasks.get,
    "tasks/update": tasks.update,
    "tasks/cancel": tasks.cancel,
}
BEFORE_HANDSHAKE: Final = frozenset({"initialize", "ping"})
TAKE_BLOBS: Final = frozenset({tools.call_tool, general.call_own})
