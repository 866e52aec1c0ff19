"""Who is asked in text: a model that is here, or one behind an endpoint."""

from accord.core.interfaces import EngineFactory
from accord.engine.local_chat import LocalChat
from accord.judges.chat_client import HttpChatClient


def client_of(
    model: str | None,
    engine_factory: EngineFactory,
    *,
    url: str | None,
    name: str | None,
    key_variable: str | None,
) -> LocalChat | HttpChatClient:
    """A `ChatClient` with `counts`; a config has checked that one of the two is named.

    Raises:
        ConfigError: the key's variable is not set, or the URL is none.
    """
    if model:
        return LocalChat(model, engine_factory)
    assert url and name
    return HttpChatClient(url, name, api_key_env=key_variable)
