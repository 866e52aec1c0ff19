"""The chat page: plain HTML, and a script that talks to the same routes as every other client.

It needs no key itself, for it holds nothing; what it asks of `/v1` does.
"""

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from accord.serving.feedback import Feedback
from accord.web.assets import assets
from accord.web.headers import SecureHeaders
from accord.web.templating import plain_page

PAGE, STATIC = "/", "/static/"


def is_page(path: str) -> bool:
    """Whether a path is the page's, or of its style and scripts."""
    return path == PAGE or path.startswith(STATIC)


def add_chat_page(app: FastAPI, feedback: Feedback, *, needs_key: bool) -> None:
    """Serve the page, with headers that let a browser load nothing from elsewhere.

    Args:
        app: of the gateway.
        feedback: what is kept of clicks, and for how long; the page says so.
        needs_key: whether the page asks its reader for a key.
    """
    shown = {
        "title": "Chat",
        "takes_feedback": feedback.store is not None,
        "retention_days": feedback.retention_days,
        "needs_key": needs_key,
    }

    @app.get(PAGE, include_in_schema=False)
    async def chat() -> HTMLResponse:
        return plain_page("chat.html.jinja", shown)

    app.mount(STATIC.rstrip("/"), assets)
    app.add_middleware(SecureHeaders, is_https=False)
