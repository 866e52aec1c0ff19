"""OpenAI's protocol, route by route."""

import base64
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from accord.engine.scripted import ScriptedEngine
from accord.serving.generating import room_for
from accord.serving.keys import Keys, new_key
from accord.serving.metrics import server_metrics
from accord.serving.scheduler import Scheduler
from serving.served_parts import client_of, scripted, tiny

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "sum",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
]


def say(prompt: str) -> str:
    if "weather" in prompt:
        return 'I ask. <tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
    if "rm -rf" in prompt:
        return '<tool_call>{"name": "shell", "arguments": {}}</tool_call>'
    return "One, two STOP three é"


@pytest.fixture(scope="module")
def client(tiny_model_dir: Path) -> Iterator[TestClient]:
    metrics = server_metrics()
    models = {
        "said": scripted("said", tiny_model_dir, say, metrics, queue=8),
        "tiny": tiny("tiny", tiny_model_dir, metrics),
    }
    with client_of(models, metrics) as made:
        yield made


def chat(client: TestClient, text: str = "hello", model: str = "said", **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return client.post("/v1/chat/completions", json=body)


def events(answer: Any) -> list[dict[str, Any]]:
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_a_whole_answer(client: TestClient) -> None:
    answer = chat(client)
    body = answer.json()
    assert answer.status_code == 200 and answer.headers["x-accord-arm"] == "said"
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "One, two STOP three é"
    assert choice["finish_reason"] == "stop" and body["id"].startswith("chatcmpl-")
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_where_no_number_is_named_an_answer_has_what_is_usual(tiny_model_dir: Path) -> None:
    served = scripted("said", tiny_model_dir, lambda _: 50 * "la ", server_metrics(), context=2**17)
    assert room_for(served, (5, 6), None) == 4096
    assert room_for(served, (5, 6), 9000) == 9000
    assert room_for(served, (5,) * (2**17 - 7), None) == 7
    served.default_max_tokens = 20
    with client_of({"said": served}) as client:
        assert chat(client).json()["usage"]["completion_tokens"] == 20
        assert chat(client).json()["choices"][0]["finish_reason"] == "length"
        assert chat(client, max_tokens=30).json()["usage"]["completion_tokens"] == 30


def test_a_stream_says_the_same_and_tells_its_usage(client: TestClient) -> None:
    found = events(chat(client, stream=True, n=2, stream_options={"include_usage": True}))
    for index in (0, 1):
        mine = [
            e["choices"][0] for e in found if e["choices"] and e["choices"][0]["index"] == index
        ]
        assert mine[0]["delta"]["role"] == "assistant"
        assert "".join(c["delta"].get("content", "") for c in mine) == "One, two STOP three é"
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == ["stop"]
    assert found[-1]["choices"] == []
    assert found[-1]["usage"] == {**chat(client, n=2).json()["usage"]}
    assert len({e["id"] for e in found}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_before_itself(client: TestClient, stream: bool) -> None:
    answer = chat(client, stop=["zzz", " STOP"], stream=stream)
    if stream:
        choices = [e["choices"][0] for e in events(answer)]
        text = "".join(c["delta"].get("content", "") for c in choices)
        assert choices[-1]["finish_reason"] == "stop"
    else:
        text = answer.json()["choices"][0]["message"]["content"]
    assert text == "One, two"


def test_max_tokens_ends_with_length(client: TestClient) -> None:
    body = chat(client, max_tokens=2).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_is_read(client: TestClient, stream: bool) -> None:
    answer = chat(client, "weather", tools=TOOLS, stream=stream)
    if stream:
        choices = [e["choices"][0] for e in events(answer)]
        calls = [call for c in choices for call in c["delta"].get("tool_calls", [])]
        finish = choices[-1]["finish_reason"]
        text = "".join(c["delta"].get("content", "") for c in choices)
    else:
        (choice,) = answer.json()["choices"]
        calls, finish = choice["message"]["tool_calls"], choice["finish_reason"]
        text = choice["message"]["content"]
    assert finish == "tool_calls" and text.strip() == "I ask."
    assert calls[0]["function"]["name"] == "add"
    assert json.loads(calls[0]["function"]["arguments"]) == {"a": 1, "b": 2}


def test_a_tool_that_nobody_gave_is_text(client: TestClient) -> None:
    (choice,) = chat(client, "rm -rf", tools=TOOLS).json()["choices"]
    assert "tool_calls" not in choice["message"] and choice["finish_reason"] == "stop"
    assert "shell" in choice["message"]["content"]


def test_a_forced_call_and_a_schema_are_kept_by_a_random_model(client: TestClient) -> None:
    more = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 120, "seed": 1}
    (choice,) = chat(client, model="tiny", **more).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    arguments = json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])
    assert {type(arguments["a"]), type(arguments["b"])} == {int}
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    (choice,) = chat(client, model="tiny", response_format=form).json()["choices"]
    assert set(json.loads(choice["message"]["content"])) == {"ok"}


def test_logprobs_of_the_likeliest(client: TestClient) -> None:
    more = {"logprobs": True, "top_logprobs": 3, "temperature": 0, "max_tokens": 4}
    (choice,) = chat(client, model="tiny", **more).json()["choices"]
    content = choice["logprobs"]["content"]
    assert len(content) == 4
    for token in content:
        assert len(token["top_logprobs"]) == 3
        assert token["top_logprobs"][0]["logprob"] == pytest.approx(token["logprob"])


def test_equal_seeds_and_other_seeds(client: TestClient) -> None:
    def texts(seed: int) -> list[str]:
        body = chat(client, model="tiny", n=3, seed=seed, max_tokens=8).json()
        return [c["message"]["content"] for c in body["choices"]]

    assert texts(1) == texts(1) != texts(2)
    assert len(set(texts(1))) == 3


def complete(client: TestClient, prompt: Any, **more: Any) -> Any:
    return client.post("/v1/completions", json={"model": "tiny", "prompt": prompt, **more})


def test_echo_tells_the_prompts_logprobs(client: TestClient) -> None:
    ids = [10, 11, 12, 13]
    more = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    (choice,) = complete(client, ids, **more).json()["choices"]
    told = choice["logprobs"]
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["text_offset"]) == 5
    assert told["token_logprobs"][0] is None and told["top_logprobs"][0] is None
    policy = client.app.state.services.policies.models["tiny"].policy  # type: ignore[attr-defined]
    with torch.no_grad():
        own = policy(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    expected = [float(own[place, token]) for place, token in enumerate(ids[1:])]
    assert told["token_logprobs"][1:4] == pytest.approx(expected, abs=1e-4)
    best = next(iter(told["top_logprobs"][1].values()))
    assert best == pytest.approx(float(own[0].max()), abs=1e-4)
    (without,) = complete(client, ids, **{**more, "max_tokens": 0}).json()["choices"]
    assert without["logprobs"]["token_logprobs"] == told["token_logprobs"][:4]


def test_many_prompts_and_a_stream_of_them(client: TestClient) -> None:
    more = {"max_tokens": 6, "temperature": 0}
    choices = complete(client, ["one", "two", "three"], **more).json()["choices"]
    found = events(complete(client, ["one", "two", "three"], stream=True, **more))
    for choice in choices:
        pieces = [e["choices"][0] for e in found if e["choices"][0]["index"] == choice["index"]]
        assert "".join(piece["text"] for piece in pieces) == choice["text"]


def test_embeddings_are_of_length_one_and_alike_in_both_forms(client: TestClient) -> None:
    body = {"model": "tiny", "input": ["What is the capital?", "user"]}
    data = client.post("/v1/embeddings", json=body).json()["data"]
    assert [d["index"] for d in data] == [0, 1]
    assert math.fsum(x * x for x in data[0]["embedding"]) == pytest.approx(1, abs=1e-5)
    packed = client.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(data[0]["embedding"])


def test_too_many_inputs_are_refused(client: TestClient) -> None:
    answer = client.post("/v1/embeddings", json={"model": "tiny", "input": ["x"] * 257})
    assert answer.status_code == 422


def test_what_is_served_is_listed(client: TestClient) -> None:
    assert {m["id"] for m in client.get("/v1/models").json()["data"]} == {"said", "tiny"}
    assert client.get("/v1/models/tiny").json()["id"] == "tiny"
    assert client.get("/v1/models/none").status_code == 404


VAST = {"type": "json_schema", "json_schema": {"schema": {"const": "a" * 10**6}}}
BAD: list[tuple[int, dict[str, Any]]] = [
    (404, {"model": "none"}),
    (422, {"temperature": -1}),
    (422, {"temprature": 1}),
    (422, {"messages": []}),
    (422, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
    (422, {"top_logprobs": 21, "logprobs": True}),
    (400, {"top_logprobs": 2}),
    (400, {"logit_bias": {"x": 1}}),
    (400, {"logit_bias": {"100000": 1}, "model": "tiny"}),
    (400, {"max_tokens": 5000}),
    (400, {"messages": [{"role": "user", "content": "x" * 100_000}]}),
    (400, {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "no"}}}),
    (
        400,
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": "a"}}}},
    ),
    (429, {"n": 9}),
    (400, {"temperature": 1e-40, "model": "tiny"}),
    (
        400,
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"const": "a" * 10**6}},
            }
        },
    ),
]


@pytest.mark.parametrize(("status", "more"), BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_requests_are_refused_in_the_protocols_shape(
    client: TestClient, status: int, more: dict[str, Any], stream: bool
) -> None:
    body = {"model": "said", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    answer = client.post("/v1/chat/completions", json={**body, **more})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert chat(client).status_code == 200  # and the server is up


def test_no_json_too_large_and_no_such_route(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        assert client.post(path, content=b"{", headers=headers).status_code == 400
    large = client.post("/v1/completions", content=b" " * (2**22 + 1), headers=headers)
    assert large.status_code == 413 and large.json()["error"]["message"]
    assert client.get("/v1/nothing").json()["error"]["type"] == "not_found_error"
    assert client.get("/v1/chat/completions").status_code == 405


def test_metrics_count_and_health_answers(client: TestClient) -> None:
    chat(client, model="tiny", max_tokens=3)
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/ready").status_code == 200
    text = client.get("/metrics").text
    assert 'accord_time_to_first_token_seconds_bucket{model="tiny",le="+Inf"}' in text
    assert 'accord_requests_total{model="tiny",route="/v1/chat/completions",status="200"}' in text
    assert 'accord_requests_under_way{model="tiny"} 0' in text


class Breaking(ScriptedEngine):
    """Closes itself at its first step, as vLLM does when a step breaks."""

    def _run_until(self, is_done: Callable[[], bool]) -> None:
        self.close()
        raise FloatingPointError("NaN")


@pytest.mark.parametrize(("others", "health"), [([], 503), (["other"], 200)])
def test_once_an_engine_has_failed_nobody_is_sent_to_it(
    tiny_model_dir: Path, others: list[str], health: int
) -> None:
    metrics = server_metrics()
    models = {n: scripted(n, tiny_model_dir, say, metrics) for n in ["said", *others]}
    models["said"].scheduler = Scheduler(Breaking(lambda _: [5], end_of_turn_id=2))
    with client_of(models, metrics) as client:
        assert client.get("/ready").status_code == client.get("/health").status_code == 200
        assert chat(client).status_code == 500
        again = chat(client)
        assert again.status_code == 503 and again.headers["retry-after"]
        assert "not served: said" in client.get("/ready").text
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == health
        assert all(chat(client, model=name).status_code == 200 for name in others)


def test_keys_are_asked_for_and_admins_alone_may_change_things(tiny_model_dir: Path) -> None:
    metrics = server_metrics()
    (user, user_line), (admin, admin_line) = new_key("ann"), new_key("bob", is_admin=True)
    path = tiny_model_dir.parent / "keys.txt"
    path.write_text(f"# keys\n{user_line}\n{admin_line}\n")
    assert user not in path.read_text()
    keys = Keys.read(path, {})
    models = {"said": scripted("said", tiny_model_dir, say, metrics)}
    with client_of(models, metrics, keys=keys, requests_per_minute=4) as client:
        assert client.get("/health").status_code == 200
        for headers in ({}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "Basic x"}):
            answer = client.get("/v1/models", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        as_user = {"Authorization": f"Bearer {user}"}
        as_admin = {"Authorization": f"Bearer {admin}"}
        assert client.get("/admin/policies", headers=as_admin).status_code == 200
        assert client.get("/admin/policies", headers=as_user).status_code == 403
        found = [client.get("/v1/models", headers=as_user).status_code for _ in range(4)]
        assert found == [200, 200, 200, 429]


def test_without_keys_only_loopbacks_names_are_answered(client: TestClient) -> None:
    answer = client.get("/v1/models", headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert (
        "access-control-allow-origin"
        not in client.get("/v1/models", headers={"Origin": "http://evil.example"}).headers
    )
