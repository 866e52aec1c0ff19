"""The `openai` package, unchanged, with every parameter that it knows of what is served here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accord.environments.calculator import calculator
from accord.environments.react import ReAct
from accord.environments.tools import Toolbox, tool_of
from accord.serving.apps import App
from accord.serving.metrics import server_metrics
from serving.served_parts import LOCAL, client_of, scripted, tiny

openai: Any = pytest.importorskip("openai")

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def say(prompt: str) -> str:
    done = "Observation: 19" in prompt
    return "Action: finish[19]" if done else "Action: calculator[12 + 7]"


@pytest.fixture(scope="module")
def client(tiny_model_dir: Path) -> Iterator[Any]:
    metrics = server_metrics()
    models = {
        "tiny": tiny("tiny", tiny_model_dir, metrics),
        "said": scripted("said", tiny_model_dir, say, metrics, context=20_000),
    }
    apps = [App("react", lambda: ReAct(Toolbox([tool_of(calculator)])), is_spoken=False)]
    with client_of(models, metrics, apps=apps) as http:
        yield openai.OpenAI(base_url=f"{LOCAL}/v1", api_key="none", http_client=http, max_retries=0)


def test_a_stream_says_what_a_whole_answer_says(client: Any) -> None:
    asked = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2, user="ann")
    text, usage = "", None
    options = {"include_usage": True}
    for event in client.chat.completions.create(**asked, stream=True, stream_options=options):
        if event.choices and event.choices[0].delta.content:
            text += event.choices[0].delta.content
        usage = event.usage or usage
    assert text == whole.choices[0].message.content and usage == whole.usage
    assert all(len(t.top_logprobs) == 2 for t in whole.choices[0].logprobs.content)


def test_all_that_changes_the_sampling(client: Any) -> None:
    found = client.chat.completions.create(
        model="tiny", messages=MESSAGES, n=2, seed=3, top_p=0.9, presence_penalty=0.5,
        frequency_penalty=0.5, stop=["a"], logit_bias={"5": -100}, max_completion_tokens=9,
    )  # fmt: skip
    assert len(found.choices) == 2
    assert all("a" not in choice.message.content for choice in found.choices)


def test_completions_and_embeddings(client: Any) -> None:
    found = client.completions.create(
        model="tiny", prompt=["One", "Two"], max_tokens=3, echo=True, logprobs=2, temperature=0
    )
    assert [choice.text[:3] for choice in found.choices] == ["One", "Two"]
    assert len(client.embeddings.create(model="tiny", input=["a", "b"]).data) == 2
    assert [model.id for model in client.models.list()] == [
        "tiny", "said", "tiny+react", "said+react",
    ]  # fmt: skip


def test_structured_output_and_a_forced_tool(client: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON, "strict": True}}
    asked = {"model": "tiny", "messages": MESSAGES, "max_tokens": 150, "seed": 1}
    found = client.chat.completions.create(**asked, response_format=form)
    assert set(json.loads(found.choices[0].message.content)) == {"name", "age"}
    tools = [{"type": "function", "function": {"name": "meet", "parameters": PERSON}}]
    choice = {"type": "function", "function": {"name": "meet"}}
    found = client.chat.completions.create(**asked, tools=tools, tool_choice=choice)
    (call,) = found.choices[0].message.tool_calls
    assert call.function.name == "meet" and "age" in json.loads(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "pleased"}
    history = [*MESSAGES, found.choices[0].message, result]
    again = client.chat.completions.create(
        model="tiny", messages=history, tools=tools, max_tokens=3
    )
    assert again.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    ("error", "wrong"),
    [
        ("NotFoundError", {"model": "none"}),
        ("UnprocessableEntityError", {"temperature": -1}),
        ("BadRequestError", {"max_tokens": 10**6}),
        ("RateLimitError", {"n": 65}),
    ],
)
def test_errors_are_the_clients_own(client: Any, error: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(getattr(openai, error)):
        client.chat.completions.create(**{"model": "tiny", "messages": MESSAGES, **wrong})


def test_an_app_and_its_answer_sent_back(client: Any) -> None:
    turns: list[Any] = [{"role": "user", "content": "12 and 7?"}]
    found = client.chat.completions.create(model="said+react", messages=turns)
    (choice,) = found.choices
    assert choice.message.content == "19" and choice.message.refusal is None
    assert "Observation: 19" in choice.message.reasoning_content
    assert choice.app["ended"] == "done" and found.usage.completion_tokens > 20
    turns += [choice.message, {"role": "user", "content": "and 12 and 7?"}]
    aside = text = ""
    for event in client.chat.completions.create(model="said+react", messages=turns, stream=True):
        aside += getattr(event.choices[0].delta, "reasoning_content", "")
        text += event.choices[0].delta.content or ""
    assert (text, aside.count("Action: ")) == ("19", 2)
    with pytest.raises(openai.NotFoundError, match="does not exist; known: said, said"):
        client.chat.completions.create(model="said+rag", messages=turns)
    with pytest.raises(openai.BadRequestError, match="takes no tools"):
        tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
        client.chat.completions.create(model="said+react", messages=turns, tools=[tool])
