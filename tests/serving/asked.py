# SPDX-License-Identifier: Apache-2.0
"""A client without a network: requests go straight into an ASGI application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(app: Any, *requests: tuple[str, str, bytes], headers: dict[str, str] | None = None,
        pieces: int = 1, pause: float = 0.0) -> list[Answer]:
    """The answers to (method, path, body), all at the same time, within one life of the application."""
    async def all_of_them() -> list[Answer]:
        async with lifespan(app):
            return list(await asyncio.gather(*(one(app, *request, headers or {}, pieces, pause)
                                               for request in requests)))
    return asyncio.run(all_of_them())


class lifespan:
    """Starts an application, and ends it."""

    def __init__(self, app: Any):
        self.app, self.messages = app, asyncio.Queue()
        self.told: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> None:
        self.task = asyncio.create_task(self.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}},
                                                 self.messages.get, self.told.put))
        await self.messages.put({"type": "lifespan.startup"})
        assert (await self.told.get())["type"] == "lifespan.startup.complete"

    async def __aexit__(self, *_: Any) -> None:
        await self.messages.put({"type": "lifespan.shutdown"})
        assert (await self.told.get())["type"] == "lifespan.shutdown.complete"
        await self.task


async def one(app: Any, method: str, path: str, body: bytes, headers: dict[str, str], pieces: int,
              pause: float) -> Answer:
    step = max(1, -(-len(body) // pieces))
    parts: Sequence[bytes] = [body[i:i + step] for i in range(0, len(body), step)] or [b""]
    waiting = iter([{"type": "http.request", "body": part, "more_body": i + 1 < len(parts)}
                    for i, part in enumerate(parts)])
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        await asyncio.sleep(pause)
        return next(waiting, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
             "root_path": "", "scheme": "http",
             "http_version": "1.1", "server": ("test", 80), "client": ("test", 1),
             "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()]}
    call: Callable[..., Awaitable[None]] = app
    await call(scope, receive, send)
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:]))
