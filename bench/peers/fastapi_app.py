"""FastAPI on uvicorn: raw body in, JSON out.

`python -m bench.peers.fastapi_app SOCKET MODEL [--loop NAME] [--http NAME]`
"""

from __future__ import annotations

import argparse
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request

from bench.peers.blazeface import BlazeFace, Face

KEEP_ALIVE_S = 600  # a block of another contender may take longer than the default 5


def application(model: str) -> FastAPI:
    app = FastAPI()
    face = BlazeFace(model)

    @app.post("/jpeg")
    async def jpeg(request: Request) -> Face:
        try:
            return face.from_jpeg(await request.body())
        except ValueError as exc:
            raise HTTPException(422, str(exc)) from exc

    @app.post("/raw")
    async def raw(
        request: Request,
        height: Annotated[int, Query(gt=0, le=4096)],
        width: Annotated[int, Query(gt=0, le=4096)],
    ) -> Face:
        try:
            return face.from_raw(await request.body(), height, width)
        except ValueError as exc:
            raise HTTPException(422, str(exc)) from exc

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("model")
    parser.add_argument("--loop", default="asyncio")
    parser.add_argument("--http", default="h11")
    args = parser.parse_args()
    uvicorn.run(
        application(args.model),
        uds=args.socket,
        loop=args.loop,
        http=args.http,
        timeout_keep_alive=KEEP_ALIVE_S,
        access_log=False,
        log_level="warning",
        lifespan="off",
    )


if __name__ == "__main__":
    main()
