"""Answers every message with a fixed one, on paho and asyncio. `python -m bench.peers.bare_mqtt PORT ID`."""

from __future__ import annotations

import asyncio
import sys

from bench.peers.mqtt_loop import Peer

ANSWER = b'{"id":1,"result":{"content":[{"type":"text","text":"hi"}]},"jsonrpc":"2.0"}'


async def main() -> None:
    peer = Peer(int(sys.argv[1]), sys.argv[2], lambda topic, _payload: peer.publish(topic, ANSWER))
    await peer.run()


if __name__ == "__main__":
    asyncio.run(main())
