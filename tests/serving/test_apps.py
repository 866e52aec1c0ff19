"""NAME+APP: episodes over HTTP, in OpenAI's form."""

import asyncio
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.core.episodes import Reply
from accord.corpora.encoding import ChatEncoder
from accord.environments.calculator import calculator
from accord.environments.chain_of_thought import ChainOfThought
from accord.environments.conversation import Conversation
from accord.environments.named import Settings, environment_factory
from accord.environments.react import ReAct
from accord.environments.tools import Toolbox, tool_of
from accord.models.loading import load_tokenizer
from accord.serving import scheduler
from accord.serving.apps import App
from accord.serving.metrics import server_metrics
from accord.serving.policies import Alias
from serving.served_parts import client_of, scripted, tiny

pytest.importorskip("bm25s")

DOCUMENTS = {
    "Paris": "Paris is the capital of France. The Seine flows through it.",
    "Tambora": "Mount Tambora is a volcano on Sumbawa. It erupted in 1815.",
}
SUM = "Thought: add.\nAction: calculator[12 + 7]"
PROMPTS: list[str] = []
"""What the policy was given to read."""


def say(prompt: str) -> str:
    PROMPTS.append(prompt)
    if "Thought" not in prompt:
        return "It is Paris [1], é STOP and more." if "[1] Paris:" in prompt else "I don't know."
    if "for ever" in prompt:
        return "Action: calculator[1]"
    if "nonsense" in prompt:
        return "I will not act."
    return "Action: finish[19 STOP!]" if "Observation: 19" in prompt else SUM


def calculating() -> ReAct:
    return ReAct(Toolbox([tool_of(calculator)]))


@pytest.fixture(scope="module")
def client(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("documents")
    for title, text in DOCUMENTS.items():
        (folder / f"{title}.txt").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        rag = environment_factory("rag", Settings(documents=str(folder)))
    apps = [
        App("rag", rag, is_spoken=True),
        App("react", calculating, is_spoken=False, max_turns=3),
        App("cot", environment_factory("cot"), is_spoken=False),
        App("conversation", environment_factory("conversation"), is_spoken=True),
    ]
    metrics = server_metrics()
    models = {
        "said": scripted("said", tiny_model_dir, say, metrics, queue=8, context=20_000),
        "tiny": tiny("tiny", tiny_model_dir, metrics),
    }
    with client_of(models, metrics, apps=apps, aliases={"chat": Alias.of({"said": 1})}) as made:
        yield made


def ask(client: TestClient, model: str, text: str, **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return client.post("/v1/chat/completions", json=body)


def streamed(answer: Any) -> dict[str, Any]:
    """Of one choice, what its chunks add up to."""
    assert answer.status_code == 200, answer.text
    lines = [line[6:] for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    deltas = [c["choices"][0] for c in chunks if c["choices"]]
    joined = {
        key: "".join(d["delta"].get(key) or "" for d in deltas)
        for key in ("content", "reasoning_content", "refusal")
    }
    pieces = [d["delta"]["content"] for d in deltas if d["delta"].get("content")]
    return {**joined, "last": deltas[-1], "pieces": pieces, "usage": chunks[-1].get("usage")}


FRANCE = "What is the capital of France?"


def test_an_answer_from_passages_is_cited_and_tells_them(client: TestClient) -> None:
    answer = ask(client, "said+rag", FRANCE)
    (choice,) = answer.json()["choices"]
    assert answer.headers["x-accord-arm"] == "said+rag" == answer.json()["model"]
    assert choice["message"]["content"] == "It is Paris [1], é STOP and more."
    assert choice["finish_reason"] == "stop" and "reasoning_content" not in choice["message"]
    (passage,) = [p for p in choice["app"].pop("passages") if p["cited"]]
    text = DOCUMENTS["Paris"]
    assert passage == {"number": 1, "title": "Paris", "text": text, "cited": True}
    assert choice["app"] == {"name": "rag", "ended": "done", "actions": 1, "abstained": False}
    (none,) = ask(client, "chat+rag", "Which zebra won?").json()["choices"]
    assert none["message"]["content"] == "I don't know." and none["message"]["refusal"] is None
    assert none["app"]["passages"] == [] and none["app"]["abstained"]


def test_it_is_streamed_as_it_comes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MOST_PIECES", 1e9)  # a script is faster than any model
    whole = ask(client, "said+rag", FRANCE).json()
    options = {"include_usage": True}
    found = streamed(ask(client, "said+rag", FRANCE, stream=True, stream_options=options))
    assert found["content"] == whole["choices"][0]["message"]["content"]
    assert len(found["pieces"]) > 5
    assert found["last"]["app"] == whole["choices"][0]["app"]
    assert found["last"]["finish_reason"] == "stop" and found["usage"] == whole["usage"]
    stopped = streamed(ask(client, "said+rag", FRANCE, stream=True, stop=["", " STOP"]))
    assert stopped["content"] == "It is Paris [1], é"
    assert stopped["last"]["app"]["passages"][0]["cited"]


def test_room_for_a_long_answer_takes_no_passages_away(client: TestClient) -> None:
    (choice,) = ask(client, "said+rag", FRANCE, max_tokens=19_900).json()["choices"]
    assert choice["app"]["passages"] and choice["finish_reason"] == "stop"
    body = ask(client, "tiny+conversation", "12?", max_tokens=500, logit_bias={"2": -100}).json()
    assert body["usage"]["total_tokens"] == 512 and body["usage"]["prompt_tokens"] > 12
    assert body["choices"][0]["finish_reason"] == "length"


def test_actions_are_told_aside_and_the_answer_alone_is_content(client: TestClient) -> None:
    (choice,) = ask(client, "said+react", "12 and 7?", stop=[" STOP"]).json()["choices"]
    assert choice["message"]["content"] == "19" and choice["finish_reason"] == "stop"
    aside = f"{SUM}\nObservation: 19\n\nAction: finish[19 STOP!]\n\n"
    assert choice["message"]["reasoning_content"] == aside
    assert choice["app"] == {"name": "react", "ended": "done", "actions": 2}
    found = streamed(ask(client, "said+react", "12 and 7?", stream=True))
    assert (found["content"], found["reasoning_content"]) == ("19 STOP!", aside)


def test_all_tokens_are_counted_once(client: TestClient, tiny_model_dir: Path) -> None:
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    first, second = (len(encoder.encode_text(s)) + 1 for s in (SUM, "Action: finish[19 STOP!]"))
    PROMPTS.clear()
    one = ask(client, "said+react", "12 and 7?").json()["usage"]
    opening, whole = (len(encoder.tokenizer.encode(p)) for p in PROMPTS)
    assert one["completion_tokens"] == first + second
    assert one["prompt_tokens"] == whole - first  # of which the opening and the observation
    two = ask(client, "said+react", "12 and 7?", n=2).json()["usage"]
    assert two["completion_tokens"] == 2 * (first + second)
    assert two["prompt_tokens"] == opening + 2 * (one["prompt_tokens"] - opening)
    assert two["total_tokens"] == two["prompt_tokens"] + two["completion_tokens"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("question", "more", "finish", "ended", "why"),
    [
        ("for ever", {}, "length", "turns", "actions that a question may take were used up"),
        ("for ever", {"max_tokens": 25}, "length", "tokens", "max_tokens were used up"),
        ("nonsense", {}, "stop", "done", "came to no answer"),
    ],
)
def test_without_an_answer_it_says_why(
    client: TestClient, stream: bool, question: str, more: Any, finish: str, ended: str, why: str
) -> None:
    answer = ask(client, "said+react", question, stream=stream, **more)
    if stream:
        message = found = streamed(answer)
        choice = found["last"]
    else:
        (choice,) = answer.json()["choices"]
        message = choice["message"]
        if more:
            assert answer.json()["usage"]["completion_tokens"] == 25
    assert message["content"] == "" and why in message["refusal"]
    assert message["reasoning_content"].startswith(("Action: calculator[1]", "I will not act."))
    assert choice["finish_reason"] == finish and choice["app"]["ended"] == ended


def test_an_action_that_max_tokens_cut_is_no_failure_of_the_model(tiny_model_dir: Path) -> None:
    class Finding(Conversation):
        async def step(self, action: str) -> Reply:
            return Reply(is_done=True, answer="found" if action.endswith("end") else None)

    metrics = server_metrics()
    models = {"said": scripted("said", tiny_model_dir, lambda _: "a long end", metrics)}
    with client_of(models, metrics, apps=[App("find", Finding, is_spoken=False)]) as made:
        (whole,) = ask(made, "said+find", "x").json()["choices"]
        (cut,) = ask(made, "said+find", "x", max_tokens=2).json()["choices"]
    assert (whole["message"]["content"], whole["finish_reason"]) == ("found", "stop")
    assert (cut["finish_reason"], cut["app"]["ended"]) == ("length", "tokens")
    assert cut["message"]["refusal"].startswith("max_tokens were used up")


def voting(tiny_model_dir: Path, said: list[str]) -> Any:
    """A client of an app in which four episodes vote; each says the next one of these."""
    metrics, left = server_metrics(), iter(said)
    models = {"said": scripted("said", tiny_model_dir, lambda _: next(left), metrics)}
    think = functools.partial(ChainOfThought, plans=False)
    return client_of(models, metrics, apps=[App("cot", think, is_spoken=False, samples=4)])


@pytest.mark.parametrize("stream", [False, True])
def test_several_episodes_vote_on_an_answer(tiny_model_dir: Path, stream: bool) -> None:
    with voting(tiny_model_dir, ["#### 4", "no idea", "#### 5", "#### 5"]) as made:
        answer = ask(made, "said+cot", "2 + 3?", stream=stream)
        refused = ask(made, "said+cot", "2 + 3?", temperature=0)
    if stream:
        found = streamed(answer)
        choice, message = found["last"], found
    else:
        (choice,) = answer.json()["choices"]
        message = choice["message"]
        assert answer.json()["usage"]["completion_tokens"] > 20, "of all four"
    assert message["content"] == "5" and message["reasoning_content"] == "#### 5\n\n"
    assert choice["app"]["vote"] == {"share": 2 / 3, "counted": 3, "skipped": 1}
    assert choice["finish_reason"] == "stop" and choice["app"]["ended"] == "done"
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "temperature"


def test_each_choice_has_a_vote_of_its_own(tiny_model_dir: Path) -> None:
    with voting(tiny_model_dir, ["#### 1"] * 4 + ["nothing"] * 4) as made:
        first, second = ask(made, "said+cot", "?", n=2).json()["choices"]
    assert first["message"]["content"] == "1" and first["app"]["vote"]["share"] == 1.0
    assert "came to no answer" in second["message"]["refusal"]
    assert second["app"]["vote"] == {"share": 0.0, "counted": 0, "skipped": 4}


def test_a_client_may_send_an_answer_back(client: TestClient) -> None:
    said = ask(client, "said+react", "12 and 7?").json()["choices"][0]["message"]
    turns = [{"role": "user", "content": "12 and 7?"}, said, {"role": "user", "content": FRANCE}]
    body = {"model": "said+rag", "messages": turns}
    PROMPTS.clear()
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert "19 STOP!" in PROMPTS[0] and "calculator" not in PROMPTS[0]


def test_seeds_choices_and_temperature(client: TestClient) -> None:
    def texts(seed: int, **more: Any) -> list[str]:
        body = ask(client, "tiny+cot", "12?", n=3, seed=seed, max_tokens=30, **more).json()
        return [c["message"]["reasoning_content"] for c in body["choices"]]

    assert texts(1) == texts(1) != texts(2)
    assert len(set(texts(1))) == 3 and len(set(texts(1, temperature=0))) == 1
    more = {"temperature": 0, "max_tokens": 12}
    alone = ask(client, "tiny", "12?", **more).json()
    (choice,) = ask(client, "tiny+conversation", "12?", **more).json()["choices"]
    assert choice["message"]["content"] == alone["choices"][0]["message"]["content"]
    assert choice["finish_reason"] == alone["choices"][0]["finish_reason"] == "length"
    biased = ask(client, "tiny+conversation", "12?", logit_bias={"40": 100}, **more).json()
    assert len(set(biased["choices"][0]["message"]["content"])) == 1


def test_all_names_are_listed(client: TestClient) -> None:
    names = {m["id"] for m in client.get("/v1/models").json()["data"]}
    alone = {"said", "tiny", "chat"}
    apps = ("rag", "react", "cot", "conversation")
    assert names == alone | {f"{name}+{app}" for name in alone for app in apps}
    for name in names:
        assert client.get(f"/v1/models/{name}").json()["id"] == name
    taken = {"name": "tiny+rag", "arms": {"tiny": 1}}
    assert client.post("/admin/aliases", json=taken).status_code == 400


TOOL = {"type": "function", "function": {"name": "add"}}
NAMED = {"type": "function", "function": {"name": "add"}}
BAD: list[tuple[int, str, dict[str, Any], str]] = [
    (404, "said+rog", {}, "the model 'said+rog' does not exist; known: chat, chat+"),
    (404, "none+rag", {}, "does not exist"),
    (404, "said+", {}, "does not exist"),
    (404, "+rag", {}, "does not exist"),
    (404, "said+rag+rag", {}, "does not exist"),
    (400, "said+react", {"tools": [TOOL]}, "takes no tools: its tools are those that the server"),
    (400, "said+rag", {"tool_choice": NAMED}, "takes no tool_choice"),
    (400, "said+react", {"response_format": {"type": "json_object"}}, "takes no response_format"),
    (400, "said+rag", {"logprobs": True}, "takes no logprobs"),
    (400, "said+rag", {"messages": [{"role": "assistant", "content": "x"}]}, "expected a question"),
    (400, "said+rag", {"max_tokens": 20_000}, "maximum context length is 20000"),
    (400, "tiny+react", {}, "does not fit beside an answer of"),
    (400, "tiny+conversation", {"messages": [{"role": "user", "content": "é?" * 600}]}, "context"),
    (429, "said+react", {"n": 9}, "try again soon"),
]


@pytest.mark.parametrize(("status", "model", "more", "why"), BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_requests_are_refused_in_the_protocols_shape(
    client: TestClient, status: int, model: str, more: dict[str, Any], why: str, stream: bool
) -> None:
    answer = ask(client, model, "x", **{"stream": stream, **more})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and why in error["message"]
    assert ask(client, "said+rag", FRANCE).status_code == 200  # and the server is up
    assert 'accord_requests_under_way{model="said"} 0' in client.get("/metrics").text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status"), [(ZeroDivisionError, 500), (asyncio.CancelledError, 503)]
)
def test_an_environment_that_breaks_breaks_no_server(
    tiny_model_dir: Path, error: type[BaseException], status: int, stream: bool
) -> None:
    class Broken(Conversation):
        async def step(self, action: str) -> Reply:
            raise error(action)

    metrics = server_metrics()
    models = {"said": scripted("said", tiny_model_dir, lambda _: "secret", metrics)}
    apps = [App("broken", Broken, is_spoken=False), App("talk", Conversation, is_spoken=True)]
    with client_of(models, metrics, apps=apps) as made:
        answer = ask(made, "said+broken", "x", stream=stream)
        assert answer.status_code == status and answer.json()["error"]["type"] == "server_error"
        assert "secret" not in answer.text
        assert ask(made, "said+talk", "x").status_code == 200
        assert 'accord_requests_under_way{model="said"} 0' in made.get("/metrics").text


def test_an_app_answers_conversations_alone(client: TestClient) -> None:
    for path, body in (("completions", {"prompt": "x"}), ("embeddings", {"input": "x"})):
        answer = client.post(f"/v1/{path}", json={"model": "tiny+rag", **body})
        assert answer.status_code == 400, answer.text
        assert "answers conversations alone" in answer.json()["error"]["message"]
