"""The server of the page: on this machine only unless told otherwise, and without a word to the internet."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from llamafactory_gaze.playground.models import Models
from llamafactory_gaze.playground.picture import PlaygroundError


# What the page may load: its own files and what it makes itself. Gradio's page asks a server of somebody else for a
# script, which the browser then does not fetch; nor may other sites show the page in a frame.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


def serve(models: Models, prompt: str, host: str, port: int | None, max_upload_mb: int) -> None:
    """Serve the page until the process is interrupted; what was uploaded is deleted then.

    Args:
        port: None takes the first free one from 7860 on.
        max_upload_mb: larger uploads are refused, in megabytes.

    Raises:
        PlaygroundError: the port is taken, or the host is none of this machine's addresses.
    """
    console = Console(highlight=False)
    with TemporaryDirectory(prefix="gaze-playground-") as folder:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as an interrupt: through the end of this block
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from starlette.middleware import Middleware

        from llamafactory_gaze.playground.app import build_page  # imports gradio, which reads both

        page = build_page(models, prompt, Path(folder)).queue(max_size=16)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                max_file_size=max_upload_mb * 10**6,
                app_kwargs={"middleware": [Middleware(_Policy)]},
                state_session_capacity=32,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                inbrowser=False,
                show_api=False,
                ssr_mode=False,
                pwa=False,
                enable_monitoring=False,
            )
        except OSError as error:
            ports = f"port {port}" if port else "the ports from 7860 on"
            raise PlaygroundError(
                f"The page cannot be served at {host}, {ports}: taken, or no address of this machine; name another "
                "--port or --host."
            ) from error
        if not _is_loopback(host):
            console.print(
                f"[bold yellow]Warning:[/] anybody who can reach {host} over the network can use this page and the "
                "model behind it; it asks for no password.",
                soft_wrap=True,
            )
        console.print(f"The playground is at {address} (Ctrl-C ends it).", soft_wrap=True)
        page.block_thread()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Policy:
    """Middleware that sends `POLICY` with every answer."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, send_with_policy)
