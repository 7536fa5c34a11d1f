"""The official MCP SDK's HTTP server: base64 in, structured content out.

`python -m bench.peers.sdk_server SOCKET MODEL [--loop NAME] [--http NAME]`
"""

from __future__ import annotations

import argparse
import base64

import uvicorn
from mcp.server.mcpserver import MCPServer

from bench.peers.blazeface import BlazeFace, Face

BODY_BYTES = 8 << 20
KEEP_ALIVE_S = 600  # a block of another contender may take longer than the default 5


def server(model: str) -> MCPServer:
    mcp = MCPServer("face", log_level="WARNING")
    face = BlazeFace(model)

    @mcp.tool()
    async def face_in_jpeg(data: str) -> Face:
        """Find the face in a base64 JPEG."""
        return face.from_jpeg(base64.b64decode(data))

    @mcp.tool()
    async def face_in_frame(data: str, height: int, width: int) -> Face:
        """Find the face in a base64 RGB frame."""
        return face.from_raw(base64.b64decode(data), height, width)

    return mcp


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("model")
    parser.add_argument("--loop", default="asyncio")
    parser.add_argument("--http", default="h11")
    args = parser.parse_args()
    app = server(args.model).streamable_http_app(
        json_response=True, stateless_http=True, max_request_body_size=BODY_BYTES
    )
    uvicorn.run(
        app,
        uds=args.socket,
        loop=args.loop,
        http=args.http,
        timeout_keep_alive=KEEP_ALIVE_S,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
