"""A local model as a chat client: the same answers in whatever company, and visible cuts."""

from pathlib import Path
from typing import Any

import pytest

from accord.core.chat import ChatReply
from accord.core.errors import ConfigError
from accord.core.types import Message
from accord.engine.local import LocalEngine
from accord.engine.local_chat import LocalChat


def said(client: LocalChat, *texts: str, **options: Any) -> list[str]:
    conversations: list[list[Message]] = [[{"role": "user", "content": text}] for text in texts]
    replies = client.complete(conversations, **{"temperature": 1.0, "max_tokens": 6, **options})
    assert all(isinstance(reply, ChatReply) for reply in replies)
    return [reply.text for reply in replies if isinstance(reply, ChatReply)]


@pytest.fixture
def client(tiny_model_dir: Path) -> LocalChat:
    return LocalChat(str(tiny_model_dir), LocalEngine)


def test_an_answer_does_not_depend_on_its_company(client: LocalChat) -> None:
    alone = said(client, "Who are you?")
    among = said(client, "Hello.", "Who are you?", "Who are you?")
    assert among[1:] == alone * 2
    assert said(client, "Who are you?", seed=1) != alone


def test_the_name_tells_models_of_one_place_apart(tiny_model_dir: Path, tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    names = []
    for content in ("one", "two"):
        (place / "weights").write_text(content)
        names.append(LocalChat(str(place), LocalEngine).name)
    assert names[0] != names[1]
    assert LocalChat("owner/model", LocalEngine).name == "owner/model"


def test_what_does_not_fit_is_cut_and_counted(client: LocalChat) -> None:
    said(client, "Short.", "Long. " * 400)
    assert client.counts == {"answered": 2, "cut": 1}
    with pytest.raises(ConfigError, match="no room for an answer"):
        said(client, "Short.", max_tokens=1_000_000)
    assert client.complete([], temperature=1.0, max_tokens=1_000_000) == []
