"""Every message the server sends in a test, held against the schema of its revision when the test ends.

In-process servers are overheard where a conversation meets its outlet; real daemons at the clients that tests
talk to them with. A transcript outlives a test as its connection does: what was agreed stays agreed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from msgspec import Raw

from edged.mcp import client
from edged.mcp.catalog import Catalog
from edged.mcp.conversation import Conversation
from edged.mcp.server import Server
from tests.rig import talk
from tests.rig.schemas import DIGESTS, NEWEST
from tests.rig.schemas_judge import LATEST_HANDSHAKE, judge

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
# An id is required there, and JSON-RPC has none to give: judged as of the revision that says so.
_ID_REQUIRED: Final = {"2024-11-05", "2025-03-26", "2025-06-18"}
_NEWEST_CODES: Final = {-32020, -32021, -32022}

Id = int | str
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Asked = tuple[str, str | None, str | None]
"""Method, revision (None where nothing said which), and the tool or prompt named."""


class _Told(msgspec.Struct, frozen=True):
    """As much of a client's message as says how its answer will look."""

    method: str
    id: Id | None = None
    params: dict[str, Raw] = {}


class _Said(msgspec.Struct, frozen=True):
    """As much of a server's message as says what to hold it against."""

    id: Id | None = None
    method: str | None = None
    params: Raw = Raw()
    result: Raw = Raw()
    error: Raw = Raw()


_told = msgspec.json.Decoder(_Told).decode
_said = msgspec.json.Decoder(_Said).decode
_speaking: set[int] = set()
_elements = msgspec.json.Decoder(list[Raw]).decode


class Transcript:
    """What passed over one connection; nothing is kept of it but what is still to be answered."""

    problems: Final[list[str]] = []
    """What was wrong with the messages of all connections since somebody cleared this."""
    _right: Final[set[int]] = set()
    """Hashes of what was judged right before: most messages of a suite are alike."""

    def __init__(self, catalog: Catalog | None = None, *, whole: bool = True) -> None:
        self.revision: str | None = None
        self._whole = whole
        self._catalog = catalog
        self._waiting: dict[Id, list[Asked]] = {}
        self._ever: dict[Id, dict[Asked, None]] = {}
        self._unsure = False

    def told(self, *texts: bytes) -> None:
        """The server was sent these."""
        self._unsure |= any(text[:1] == b"[" for text in texts)
        for element in (one for text in texts for one in _split(text)):
            try:
                message = _told(element)
            except UNREADABLE:
                self._unsure = True
                continue  # whatever it is, only an error can answer it
            if message.method == "notifications/cancelled":
                self._waiting.pop(_member(message.params, "requestId"), None)
            elif message.id is not None:
                self._note(message.id, message)

    def said(self, text: bytes) -> None:
        """The server sent this."""
        elements = _split(text)
        if text[:1] == b"[" and self.revision != "2025-03-26" and self._whole:
            self.problems.append(f"an array of answers under {self.revision}: {text[:1000]!r}")
        for element in elements:
            if problem := self._problem(_said(element), element):
                self.problems.append(f"{problem}\n    {bytes(element)[:1000]!r}")

    def _note(self, request_id: Id, message: _Told) -> None:
        meta = _member(message.params, "_meta")
        version = str(meta.get(VERSION_KEY)) if isinstance(meta, dict) else ""
        spoken = version if version in DIGESTS else self.revision
        asked = (message.method, spoken, _text_of(message.params, "name"))
        self._waiting.setdefault(request_id, []).append(asked)
        self._ever.setdefault(request_id, {})[asked] = None

    def _problem(self, said: _Said, text: bytes | Raw) -> str | None:
        if said.method is not None:
            return self._unasked(said, text)
        asked = self._asked(said.id)
        if said.error:
            return self._error(said, asked, text)
        if asked is None:
            return "a result nobody asked for" if self._whole and self._ever else None
        problem = self._result(said, asked, text)
        if problem is None or not self._unsure or said.id is None:
            return problem
        # An error for what could not be read, or that came late with its array, was taken for another's.
        others = [self._result(said, other, text) for other in self._ever[said.id]]
        return None if None in others else problem

    def _result(self, said: _Said, asked: Asked, text: bytes | Raw) -> str | None:
        method, version, name = asked
        if method == "initialize":
            members = msgspec.json.decode(said.result, type=dict[str, Raw])
            version = self.revision = _member(members, "protocolVersion")
        key = hash((version, method, name if self._catalog else None, bytes(said.result)))
        return _unless_known(key, lambda: self._answer(method, version, name, msgspec.json.decode(text)))

    def _answer(self, method: str, version: str | None, name: Any, message: Any) -> str | None:
        spoken = judge(version or LATEST_HANDSHAKE)
        problem = spoken.answer(method, message)
        if problem is None and method == "tools/call":
            problem = self._unlike_its_schema(name, message["result"])
        return problem

    def _asked(self, request_id: Id | None) -> Asked | None:
        if request_id is None:
            return None
        waiting = self._waiting.get(request_id)
        return waiting.pop() if waiting else next(reversed(self._ever.get(request_id, {})), None)

    def _error(self, said: _Said, asked: Asked | None, text: bytes | Raw) -> str | None:
        version = (asked[1] if asked else None) or self.revision or LATEST_HANDSHAKE
        if said.id is None and version in _ID_REQUIRED:
            version = LATEST_HANDSHAKE
        key = hash((version, said.id is None, bytes(said.error)))

        def judged() -> str | None:
            message = msgspec.json.decode(text)
            newest = message["error"].get("code") in _NEWEST_CODES
            return judge(NEWEST if newest else version).error(message)

        return _unless_known(key, judged)

    def _unasked(self, said: _Said, text: bytes | Raw) -> str | None:
        key = hash((self.revision, said.method, bytes(said.params), said.id is None))
        return _unless_known(key, lambda: self._judged_unasked(msgspec.json.decode(text)))

    def _judged_unasked(self, message: Any) -> str | None:
        version = self.revision or NEWEST
        if SUBSCRIPTION_KEY in message.get("params", {}).get("_meta", {}):
            version = NEWEST
        elif message["method"] in {"notifications/progress", "notifications/message"}:
            # Both belong to a request, of either era, which is not named.
            problems = [judge(v).unasked(message) for v in (version, NEWEST)]
            return None if None in problems else problems[0]
        return judge(version).unasked(message)

    def _unlike_its_schema(self, name: Any, result: Any) -> str | None:
        """Structured content has to match the tool's output schema, where it has one and did not fail."""
        tool = self._catalog.tools.get(name) if self._catalog and isinstance(name, str) else None
        if tool is None or tool.output_schema is None or result.get("isError"):
            return None
        if "structuredContent" not in result:
            return None
        errors = jsonschema.Draft202012Validator(tool.output_schema).iter_errors(result["structuredContent"])
        return next((f"{name}: {e.json_path}: {e.message[:300]}" for e in errors), None)


def _unless_known(key: int, judged: Callable[[], str | None]) -> str | None:
    if key in Transcript._right:
        return None
    if problem := judged():
        return problem
    Transcript._right.add(key)
    return None


def _split(text: bytes) -> list[bytes] | list[Raw]:
    """The messages of an array; a text that is none is its own only one."""
    if text[:1] != b"[":
        return [text]
    try:
        return _elements(text)
    except UNREADABLE:
        return []


def _member(members: Mapping[str, Raw], name: str) -> Any:
    try:
        return msgspec.json.decode(members[name])
    except (KeyError, *UNREADABLE):
        return None


def _text_of(members: Mapping[str, Raw], name: str) -> str | None:
    value = _member(members, name)
    return value if isinstance(value, str) else None


def overhear(patch: pytest.MonkeyPatch) -> None:
    """From now on, keep what passes between every client and server of this process."""
    _overhear_conversations(patch)
    _before(patch, client.Client, "receive", lambda self, message: _of(self).said(bytes(message)))
    _before(patch, talk.Talk, "read", lambda self, line: _of(self).said(line))
    _before(patch, talk.AsyncTalk, "read", lambda self, line: _of(self).said(line))
    for kind in (talk.Talk, talk.AsyncTalk):
        _before(patch, kind, "send", lambda self, *texts: _of(self).told(*texts))
    request = client.Client.request

    def asked(
        self: client.Client, method: str, params: Mapping[str, object], *, progress: bool = False
    ) -> tuple[int, bytes]:
        request_id, text = request(self, method, params, progress=progress)
        _of(self).told(text)
        return request_id, text

    patch.setattr(client.Client, "request", asked)


def _overhear_conversations(patch: pytest.MonkeyPatch) -> None:
    """By class, and with nothing kept of a connection that is silent: tests count its bytes."""
    connect, receive, take = Server.connect, Conversation.receive, Conversation.take
    talking: WeakKeyDictionary[Any, Conversation] = WeakKeyDictionary()

    def transcript_of(conversation: Conversation) -> Transcript:
        router: Any = conversation._router
        return _of(conversation, router.catalog)

    def hear(outlet: Any, *arguments: Any) -> None:
        if outlet in talking:
            transcript_of(talking[outlet]).said(arguments[-1])

    def connected(server: Server, outlet: Any, *arguments: Any, **named: Any) -> Conversation:
        for name in ("send", "send_about", "send_from_thread"):
            if not hasattr(getattr(outlet, name), "heard_by"):
                _before(patch, type(outlet), name, hear)
        talking[outlet] = connect(server, outlet, *arguments, **named)
        return talking[outlet]

    def received(
        self: Conversation, buffer: bytes | bytearray, start: int = 0, end: int | None = None
    ) -> None:
        transcript_of(self).told(bytes(memoryview(buffer)[start:end]))
        receive(self, buffer, start, end)

    def taken(self: Conversation, text: bytes, *rest: Any) -> None:
        transcript_of(self).told(text)
        take(self, text, *rest)

    patch.setattr(Server, "connect", connected)
    patch.setattr(Conversation, "receive", received)
    patch.setattr(Conversation, "take", taken)


def _before(patch: pytest.MonkeyPatch, owner: type, name: str, hear: Callable[..., object]) -> None:
    """Have `hear` called with the same arguments before each call of the method."""
    method = getattr(owner, name)

    def overheard(end: Any, *arguments: Any, **named: Any) -> Any:
        if id(end) in _speaking:  # one overheard method calls another
            return method(end, *arguments, **named)
        _speaking.add(id(end))
        try:
            hear(end, *arguments, **named)
            return method(end, *arguments, **named)
        finally:
            _speaking.discard(id(end))

    overheard.heard_by = hear  # type: ignore[attr-defined]  # a mark, so that no subclass is heard twice
    patch.setattr(owner, name, overheard)


def _of(end: Any, catalog: Catalog | None = None) -> Transcript:
    """The transcript of one end of a connection; what a test sent past a client is not in the client's."""
    known = vars(end)
    if "transcript" not in known:
        known["transcript"] = Transcript(catalog, whole=catalog is not None)
    transcript: Transcript = known["transcript"]
    return transcript


@pytest.fixture(scope="session", autouse=True)
def overheard() -> Iterator[None]:
    """Overhear, for as long as there are tests."""
    with pytest.MonkeyPatch.context() as patch:
        overhear(patch)
        yield


@pytest.fixture(autouse=True)
def every_message_is_as_its_revision_says(overheard: None) -> Iterator[None]:
    """Fail a test in which the server sent what the official schema does not allow."""
    yield
    problems = Transcript.problems[:10]
    Transcript.problems.clear()
    assert not problems, "not by the official schema:\n" + "\n".join(problems)
