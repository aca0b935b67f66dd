# SPDX-License-Identifier: Apache-2.0
"""The server: routes of the Open Inference Protocol, files, metrics, a page to try the model, and a description of all
of it.

    GET  /v2, /v2/health/live, /v2/health/ready, /v2/models/NAME, /v2/models/NAME/ready
    POST /v2/models/NAME/infer      tensors, JSON or binary
    POST /v2/models/NAME/files      a file of the user's, multipart
    GET  /metrics, /openapi.json, /
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, ChainruleError, MissingExtra, explain
from ..version import __version__
from .batching import Batcher
from .measures import Measures
from .page import page
from .protocol import HEADER, read_request, write_answer
from .schema import schema
from .served import Served

LONG = 2**20  # bytes of a body from which it is read in a thread, while other requests go on


@dataclass(frozen=True)
class Limits:
    """What a server puts up with.

    Attributes:
        bytes: of a request's body.
        seconds: that a request may take, waiting included.
        waiting: requests that are in work at the same time; more are told to come again (503).
        batch: rows that are computed together.
        delay: seconds that a request waits for others to be computed with; 0: only while the model is busy.

    >>> cr.serving.Limits(batch=8).batch
    8
    """

    bytes: int = 64 * 2**20
    seconds: float = 30.0
    waiting: int = 1000
    batch: int = 64
    delay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("bytes", "seconds", "waiting", "batch"):
            if not getattr(self, name) > 0:
                raise ArgumentError(explain(f"{name} is a limit", got=f"{name}={getattr(self, name)}",
                                            expected="a number above 0"))
        if not 0 <= self.delay < self.seconds:
            raise ArgumentError(explain("a request cannot wait so long", got=f"delay={self.delay}",
                                        expected=f"0 to below {self.seconds:g} seconds"))


class Refused(Exception):
    """A request that gets an error: its status and what is said."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


class Models:
    """What is served: a batcher for each model, and the counts of what was done."""

    def __init__(self, models: Sequence[Served], limits: Limits):
        self.by_name = {model.name: model for model in models}
        if len(self.by_name) < len(models) or not models:
            raise ArgumentError(explain("each model has a name of its own",
                                        got=", ".join(model.name for model in models) or "no model",
                                        expected="one name for each"))
        self.limits, self.measures, self.working = limits, Measures(self.by_name), 0
        self.batchers: dict[str, Batcher] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Begin to compute."""
        self.files = ThreadPoolExecutor(1, "files")
        self.batchers = {name: Batcher(model.call, self.limits.batch, self.limits.delay, self.measures.of_batch(name))
                         for name, model in self.by_name.items()}

    def close(self) -> None:
        """Answer what is waiting, and end."""
        for batcher in self.batchers.values():
            batcher.close()
        self.files.shutdown()

    def named(self, name: str, version: str | None) -> Served:
        """The model of an address; 404 for none."""
        if name not in self.by_name or version not in (None, "1"):
            raise Refused(404, f"there is no model {name!r}{'' if version is None else f' of version {version}'}; "
                               f"there are {', '.join(self.by_name)}")
        return self.by_name[name]

    def begin(self) -> None:
        """One more request; 503 where there are too many."""
        with self._lock:
            if self.working >= self.limits.waiting:
                raise Refused(503, f"{self.working:,} requests are in work, come again later")
            self.working += 1

    def end(self) -> None:
        """One request less."""
        with self._lock:
            self.working -= 1


def application(models: Sequence[Served], limits: Limits | None = None) -> Any:
    """An ASGI application, for `serve` or for any ASGI server.

    Args:
        models: what `served` made.
        limits: sizes and times; None: the defaults of `Limits`.

    Raises ArgumentError for two models of one name, MissingExtra without the extra `serve`.

    >>> model = nn.Dense(2, input_shape=(3,))
    >>> app = cr.serving.application([cr.serving.served(model, "lines")])
    >>> callable(app)
    True
    """
    try:
        from starlette.applications import Starlette
        from starlette.responses import HTMLResponse, JSONResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise MissingExtra("serving models", "starlette and uvicorn", "serve") from error
    have = Models(models, limits or Limits())

    def told(error: Exception) -> Response:
        status = error.status if isinstance(error, Refused) else 400 if isinstance(error, ChainruleError) else 500
        text = _words(error) if status < 500 or isinstance(error, Refused) else f"{type(error).__name__} in the model"
        return JSONResponse({"error": text}, status)

    def route(path: str, work: Any, method: str = "GET") -> Route:
        async def answer(request: Any) -> Response:
            with have.measures.of_request(request.path_params.get("name")) as seen:
                try:
                    response = await work(request)
                except Exception as error:
                    response = told(error)
                seen.status = response.status_code
                return response
        return Route(path, answer, methods=[method])

    async def server(request: Any) -> Response:
        return JSONResponse({"name": "chainrule", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def live(request: Any) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Any) -> Response:
        return JSONResponse({"ready": True})

    async def listed(request: Any) -> Response:
        return JSONResponse({"models": [model.metadata() for model in have.by_name.values()]})

    async def metadata(request: Any) -> Response:
        return JSONResponse(_model(request).metadata())

    async def model_ready(request: Any) -> Response:
        return JSONResponse({"name": _model(request).name, "ready": True})

    async def infer(request: Any) -> Response:
        model = _model(request)

        async def answered() -> tuple[bytes, int | None]:
            content = await _body(request, have.limits.bytes)
            header = request.headers.get(HEADER)
            read = asyncio.to_thread(read_request, content, header) if len(content) > LONG else None
            asked = read_request(content, header) if read is None else await read
            future = have.batchers[model.name].submit(model.checked(asked.arrays))
            return write_answer(model.name, asked, await asyncio.wrap_future(future))
        have.begin()
        try:
            body, size = await _within(answered(), have.limits.seconds)
        finally:
            have.end()
        kind = "application/json" if size is None else "application/octet-stream"
        return Response(body, media_type=kind, headers={} if size is None else {HEADER: str(size)})

    async def files(request: Any) -> Response:
        model = _model(request)
        if model.of_file is None:
            raise Refused(404, f"{model.name} reads no files; POST tensors to /v2/models/{model.name}/infer")
        have.begin()
        work = None
        try:
            content, suffix = await _within(_uploaded(request, have.limits.bytes), have.limits.seconds)
            work = have.files.submit(_of_upload, model, content, suffix)
            answers = await _within(asyncio.wrap_future(work), have.limits.seconds)
        finally:  # what runs on after its time keeps its place
            if work is None or work.cancel() or work.done():
                have.end()
            else:
                work.add_done_callback(lambda _: have.end())
        return JSONResponse({"model_name": model.name, "predictions": answers})

    async def metrics(request: Any) -> Response:
        return Response(have.measures.text(), media_type=have.measures.media_type)

    async def described(request: Any) -> Response:
        return JSONResponse(schema(list(have.by_name.values())))

    async def tried(request: Any) -> Response:
        return HTMLResponse(page(list(have.by_name.values())))

    def _model(request: Any) -> Served:
        return have.named(request.path_params["name"], request.path_params.get("version"))

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        have.open()
        try:
            yield
        finally:
            have.close()

    of_models = [route(f"/v2/models/{{name}}{version}{path}", work, method) for version in ("", "/versions/{version}")
                 for path, work, method in (("", metadata, "GET"), ("/ready", model_ready, "GET"),
                                            ("/infer", infer, "POST"), ("/files", files, "POST"))]
    return Starlette(routes=[
        route("/", tried), route("/v2", server), route("/v2/health/live", live), route("/v2/health/ready", ready),
        route("/v2/models", listed),
        route("/metrics", metrics), route("/openapi.json", described), *of_models], lifespan=lifespan)


def _words(error: Exception) -> str:
    """What an error says, without the line of the program that it was met in: the client's is another."""
    return "\n".join(line for line in str(error).split("\n") if not line.startswith("  at  "))


async def _within(work: Any, seconds: float) -> Any:
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError:
        raise Refused(504, f"the model did not answer within {seconds:g} seconds") from None


async def _body(request: Any, most: int) -> bytes:
    """The body of a request, never more than the limit of it."""
    said = request.headers.get("content-length", "0")
    parts, size = [], 0
    if said.isdigit() and len(said) < 20 and int(said) > most:
        raise Refused(413, f"the body has {int(said):,} bytes, at most {most:,} are taken")
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(413, f"the body has more than {most:,} bytes")
        parts.append(part)
    return b"".join(parts)


async def _uploaded(request: Any, most: int) -> tuple[bytes, str]:
    """(content, suffix) of the one file of a multipart body."""
    from starlette.formparsers import MultiPartException, MultiPartParser

    body = await _body(request, most)

    async def stream() -> AsyncIterator[bytes]:
        yield body
    try:
        form = await MultiPartParser(request.headers, stream(), max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError, ValueError, AssertionError) as error:
        raise Refused(400, f"the body is no form with one file: {error}") from None
    try:
        found = [item for _, item in form.multi_items() if hasattr(item, "read")]
        if len(found) != 1:
            raise Refused(400, f"the form has {len(found)} files, one is expected, as by curl -F file=@cat.png")
        suffix = Path(found[0].filename or "").suffix.lower()
        return await found[0].read(), suffix if suffix[1:].isalnum() and len(suffix) < 12 else ""
    finally:
        await form.close()


def _of_upload(model: Served, content: bytes, suffix: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as room:
        path = Path(room) / f"upload{suffix}"
        path.write_bytes(content)
        assert model.of_file is not None
        try:
            return model.of_file(path)
        except ChainruleError as error:
            raise Refused(400, _words(error).replace(str(path), f"the file{suffix and f' ({suffix})'}")) from None


def serve(models: Sequence[Served], host: str = "127.0.0.1", port: int = 8000, limits: Limits | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM, which let requests in work end.

    Args:
        models, limits: as for `application`.
        host: address to listen at; the default is reached from this machine alone.
        port: 1 to 65,535; 0 for a free one.

    Raises ArgumentError for an address that is taken or not this machine's, MissingExtra without the extra `serve`.

    >>> cr.serving.serve([cr.serving.served("runs/digits-001")], port=8000)  # doctest: +SKIP
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("serving models", "starlette and uvicorn", "serve") from error

    app = application(models, limits)
    try:
        listening = socket.create_server((host, port))
        # asyncio sets it only where a socket names its protocol
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError) as error:
        raise ArgumentError(explain("this address cannot be listened at", got=f"{host}:{port}: {error}",
                                    fix="another --port, or --host 127.0.0.1")) from None
    print(f"serving {', '.join(model.name for model in models)} at http://{host}:{listening.getsockname()[1]}  (Ctrl-C "
          "ends it)", flush=True)

    class Server(uvicorn.Server):
        """Ends with status 0: uvicorn's own raises the signal again when it is done."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=30, lifespan="on")
    Server(config).run(sockets=[listening])
