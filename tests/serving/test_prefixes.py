"""Turns of a conversation are read once, and whoever asks is told how much of it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.serving.generating import Usage
from accord.serving.metrics import Metrics, server_metrics
from serving.served_parts import LOCAL, client_of, loaded

QUESTION = {"role": "user", "content": "What is the capital of the country? " * 4}


@pytest.fixture
def metrics() -> Metrics:
    return server_metrics()


@pytest.fixture
def client(tiny_model_dir: Path, metrics: Metrics) -> Iterator[TestClient]:
    with client_of(loaded({"tiny": tiny_model_dir}, metrics, prefix_cache_mb=8), metrics) as made:
        yield made


def chat(client: TestClient, messages: list[dict[str, str]], **more: Any) -> Any:
    body = {"model": "tiny", "messages": messages, "max_tokens": 24, "temperature": 0, **more}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer


def cached(usage: dict[str, Any]) -> int:
    found = usage["prompt_tokens_details"]["cached_tokens"]
    assert isinstance(found, int) and found < usage["prompt_tokens"]
    return found


def test_a_second_turn_goes_on_from_the_first(client: TestClient, metrics: Metrics) -> None:
    first = chat(client, [QUESTION]).json()
    assert cached(first["usage"]) == 0
    said = first["choices"][0]["message"]
    turns = [QUESTION, {"role": "assistant", "content": said["content"]}, QUESTION]
    second = chat(client, turns).json()["usage"]
    count = cached(second)
    assert count >= first["usage"]["prompt_tokens"] // 16 * 16 and count % 16 == 0
    name = 'accord_prompt_tokens_cached_total{model="tiny"}'
    assert f"{name} {count}\n" in metrics.render()
    again = chat(client, turns, stream=True, stream_options={"include_usage": True}).text
    assert f'"cached_tokens": {(second["prompt_tokens"] - 1) // 16 * 16}' in again


def test_the_openai_package_reads_the_count(client: TestClient) -> None:
    openai: Any = pytest.importorskip("openai")
    theirs = openai.OpenAI(base_url=f"{LOCAL}/v1", api_key="none", http_client=client)
    asked = {"model": "tiny", "messages": [QUESTION], "max_tokens": 2}
    counts = [
        theirs.chat.completions.create(**asked).usage.prompt_tokens_details.cached_tokens
        for _ in range(2)
    ]
    assert counts[0] == 0 < counts[1]


def test_choices_count_their_prompt_once(client: TestClient) -> None:
    chat(client, [QUESTION])
    usage = chat(client, [QUESTION], n=3, temperature=1).json()["usage"]
    assert cached(usage) == (usage["prompt_tokens"] - 1) // 16 * 16


def test_several_prompts_add_up(client: TestClient) -> None:
    prompts = [[i] * 40 for i in (5, 6, 7)]
    body = {"model": "tiny", "prompt": prompts[:2], "max_tokens": 2}
    usage = client.post("/v1/completions", json=body).json()["usage"]
    assert usage["prompt_tokens"] == 80 and cached(usage) == 0
    usage = client.post("/v1/completions", json={**body, "prompt": prompts}).json()["usage"]
    assert usage["prompt_tokens"] == 120 and cached(usage) == 2 * 32


def test_without_a_cache_nothing_is_told_to_be_cached(tiny_model_dir: Path) -> None:
    assert Usage(3, 0, 4).shown() == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    with client_of(loaded({"tiny": tiny_model_dir}, server_metrics())) as client:
        for _ in range(2):
            assert cached(chat(client, [QUESTION]).json()["usage"]) == 0
