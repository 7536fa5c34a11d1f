from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.links.mqtt.websocket import Frames, WebSocketError, check_response, frame, request


def from_server(payload: bytes, opcode: int = 2, *, final: bool = True) -> bytes:
    """A frame as a server makes it, the long way of every length included."""
    first = bytes((0x80 * final | opcode,))
    if len(payload) < 126:
        return first + bytes((len(payload),)) + payload
    if len(payload) < 65536:
        return first + b"\x7e" + len(payload).to_bytes(2, "big") + payload
    return first + b"\x7f" + len(payload).to_bytes(8, "big") + payload


def unmasked(sent: bytes) -> bytes:
    """The payload of our frame, byte by byte as RFC 6455, 5.3 has it."""
    length, at = sent[1] & 0x7F, 2
    if length >= 126:
        at = 4 if length == 126 else 10
        length = int.from_bytes(sent[2:at], "big")
    mask, body = sent[at : at + 4], sent[at + 4 :]
    assert len(body) == length
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(body))


PIECES = st.lists(st.tuples(st.binary(max_size=300), st.sampled_from(["whole", "split", "ping"])), max_size=8)


@given(PIECES, st.randoms(use_true_random=False))
def test_frames_come_apart_however_they_come_in(pieces: list[tuple[bytes, str]], chance: object) -> None:
    raw, wanted, pings = b"", b"", 0
    for payload, how in pieces:
        wanted += payload
        if how == "split":
            raw += from_server(payload[:7], final=False) + from_server(payload[7:], opcode=0)
        else:
            raw += from_server(payload)
        if how == "ping":
            raw += from_server(b"are you there", opcode=9)
            pings += 1
    frames, found = Frames(), b""
    while raw:
        size = chance.randint(1, 90)  # type: ignore[attr-defined] # a random.Random
        found += frames.feed(raw[:size])
        raw = raw[size:]
    assert found == wanted
    assert frames.replies == [(10, b"are you there")] * pings


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
def test_what_we_send_is_masked_and_of_every_length(length: int) -> None:
    payload = bytes(i % 251 for i in range(length))
    sent = frame(payload, b"\x01\x80\x00\xff")
    assert sent[0] == 0x82
    assert sent[1] & 0x80
    assert unmasked(sent) == payload


def test_a_large_frame_from_a_server_is_taken_in_pieces() -> None:
    payload = bytes(200_000)
    raw = from_server(payload)
    frames = Frames()
    assert b"".join(frames.feed(raw[i : i + 1000]) for i in range(0, len(raw), 1000)) == payload


def test_a_close_is_answered_and_ends_it() -> None:
    frames = Frames()
    frames.feed(from_server(b"\x03\xe8", opcode=8))
    assert frames.closed
    assert frames.replies == [(8, b"\x03\xe8")]


@pytest.mark.parametrize(
    "raw", [b"\x81\x02hi", b"\x82\x82\x00\x00\x00\x00hi", b"\xc2\x02hi", b"\x89\x7e\x00\x7e", b"\x83\x00"]
)
def test_what_a_server_may_not_send_is_an_error(raw: bytes) -> None:
    with pytest.raises(WebSocketError):
        Frames().feed(raw)


NONCE = b"the sample nonce"  # RFC 6455, 1.3
ANSWER = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def test_the_handshake_is_the_one_in_the_rfc() -> None:
    assert b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in request("broker", 80, "/mqtt", NONCE)
    check_response(ANSWER.encode(), NONCE)


@pytest.mark.parametrize(
    ("was", "instead"),
    [("101", "403"), ("s3pPL", "xxxxx"), ("Protocol: mqtt", "Protocol: amqp"), ("HTTP/1.1 101", "")],
)
def test_a_server_that_does_not_agree_is_refused(was: str, instead: str) -> None:
    with pytest.raises(WebSocketError):
        check_response(ANSWER.replace(was, instead).encode(), NONCE)
