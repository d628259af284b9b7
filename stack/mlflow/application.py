"""MLflow's own application, with three things put right.

MLflow tells its clients to fetch and send artifacts by links into the store itself. Nobody outside
of the stack reaches the store: they would wait for minutes, and fail. Here it does not tell them.

The web page downloads by a route that reads the artifact into memory as fast as the disk gives it,
however slowly it is fetched: a gigabyte for a gigabyte. Here it waits for who fetches.

And to hand an artifact out, MLflow fetches the whole of it into a temporary folder, which goes when
the generator that reads it is closed. When a client breaks off, nobody closes that generator until
Python looks for unreachable cycles; on a quiet server this is hours later. Here it looks at once.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

#: So many pieces of an answer, of a megabyte at the most, are read before they are asked for.
PIECES_AHEAD = 8
#: Until what was broken off is out of use; what breaks off meanwhile goes by the same look.
DELAY_SECONDS = 1.0


def create_app() -> Application:
    """For `mlflow server --app-name stack`."""
    # Seconds, and in the workers alone.
    import anyio  # noqa: PLC0415
    from mlflow.server import fastapi_app  # noqa: PLC0415

    class Waiting(fastapi_app._EfficientWSGIResponder):  # type: ignore[misc]  # it has no types
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            ahead = anyio.create_memory_object_stream[Message](PIECES_AHEAD)
            self.stream_send, self.stream_receive = ahead

    fastapi_app._EfficientWSGIResponder = Waiting
    _keep_the_store_inside()
    return Tidy(fastapi_app.app)


def _keep_the_store_inside() -> None:
    """Say of this server that it has no links into its store."""
    from mlflow.server import handlers, server_info_api  # noqa: PLC0415  # seconds, as above
    from mlflow.utils import server_info  # noqa: PLC0415  # as above

    said = handlers.build_server_info_payload

    def without_links() -> dict[str, Any]:
        return {
            **said(),
            server_info.SERVER_INFO_MULTIPART_UPLOADS_ENABLED: False,
            server_info.SERVER_INFO_MULTIPART_DOWNLOADS_ENABLED: False,
        }

    handlers.build_server_info_payload = without_links
    server_info_api.build_server_info_payload = without_links


class Tidy:
    """Answers as `application` does, and looks for what a client that broke off has left."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._looking: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if "artifact" not in scope.get("path", ""):
            await self._application(scope, receive, send)
            return
        whole = broken_off = False

        async def asked() -> Message:
            nonlocal broken_off
            message = await receive()
            # Afterwards too there is a disconnect; and what MLflow still sends goes nowhere.
            broken_off |= message["type"] == "http.disconnect" and not whole
            return message

        async def answered(message: Message) -> None:
            nonlocal whole
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._application(scope, asked, answered)
        finally:
            if (broken_off or not whole) and self._looking is None:
                loop = asyncio.get_running_loop()
                self._looking = loop.call_later(DELAY_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        gc.collect()
