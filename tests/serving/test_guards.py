"""Guards: nothing that is refused is ever shown, and a guard that fails lets nothing pass."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import ConfigError
from accord.serving import scheduler
from accord.serving.guards import Guard, Guards, load_guards, split
from accord.serving.metrics import server_metrics
from serving.served_parts import client_of, scripted

GOOD = "All is well and nobody is harmed. "
BAD = GOOD * 8 + "Now POISON comes, and more of it."


def judge(texts: Sequence[str]) -> list[float]:
    return [0.9 if "POISON" in text else 0.1 for text in texts]


def broken(texts: Sequence[str]) -> list[float]:
    raise RuntimeError("no memory")


def confused(texts: Sequence[str]) -> list[float]:
    return [float("nan") for _ in texts]


def ask(guards: Guards, model_dir: Path, prompt: str, **more: Any) -> Any:
    metrics = server_metrics()
    say = lambda text: BAD if "bad" in text else GOOD * 9  # noqa: E731
    models = {"said": scripted("said", model_dir, say, metrics)}
    with client_of(models, metrics, guards=guards) as client:
        body = {"model": "said", "messages": [{"role": "user", "content": prompt}], **more}
        return client.post("/v1/chat/completions", json=body)


def streamed(answer: Any) -> tuple[str, str, int]:
    lines = [line[6:] for line in answer.text.split("\n\n") if line][:-1]
    choices = [json.loads(line)["choices"][0] for line in lines]
    text = "".join(c["delta"].get("content", "") for c in choices)
    tokens = sum(len((c["logprobs"] or {}).get("content", [])) for c in choices)
    return text, choices[-1]["finish_reason"], tokens


def test_what_is_fine_passes_whole(tiny_model_dir: Path) -> None:
    guards = Guards([Guard("poison", judge, 0.5)])
    (choice,) = ask(guards, tiny_model_dir, "good").json()["choices"]
    assert choice["message"]["content"] == GOOD * 9
    assert streamed(ask(guards, tiny_model_dir, "good", stream=True))[:2] == (GOOD * 9, "stop")


def test_a_refused_response_ends_before_its_window(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Token by token: where several come at once, a window may end in the middle of the word.
    monkeypatch.setattr(scheduler, "MOST_PIECES", 1e9)
    guards = Guards([Guard("poison", judge, 0.5)])
    answer = ask(guards, tiny_model_dir, "bad", stream=True, logprobs=True)
    text, finish, tokens = streamed(answer)
    assert finish == "content_filter" and "POI" not in answer.text
    assert GOOD in text and BAD.startswith(text) and 0 < tokens <= len(text)
    (choice,) = ask(guards, tiny_model_dir, "bad").json()["choices"]
    assert choice["finish_reason"] == "content_filter" and "POI" not in choice["message"]["content"]


def test_a_refused_prompt_is_not_answered(tiny_model_dir: Path) -> None:
    guards = Guards([Guard("poison", judge, 0.5, on_output=False)])
    answer = ask(guards, tiny_model_dir, "x" * 300 + " POISON please")
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "content_filter"
    tool = {"name": "x", "description": "POISON"}
    tools = [{"type": "function", "function": tool}]
    assert ask(guards, tiny_model_dir, "x", tools=tools).status_code == 400
    (choice,) = ask(guards, tiny_model_dir, "bad").json()["choices"]
    assert choice["message"]["content"] == BAD  # this one reads prompts alone


@pytest.mark.parametrize("wrong", [broken, confused])
def test_a_guard_that_cannot_say_lets_nothing_pass(tiny_model_dir: Path, wrong: Any) -> None:
    guards = Guards([Guard("wrong", wrong, 0.5, on_output=False)])
    assert ask(guards, tiny_model_dir, "good").status_code == 400
    guards = Guards([Guard("wrong", wrong, 0.5, on_input=False)])
    (choice,) = ask(guards, tiny_model_dir, "good").json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "content_filter")


def test_nothing_hides_at_the_border_of_two_pieces() -> None:
    for at in range(0, 4000, 7):
        text = "x" * at + "POISON" + "y" * (4000 - at)
        assert max(judge(split(text))) == 0.9
    assert split("") == [""] and split("short") == ["short"]


@pytest.mark.parametrize("given", ["x", "a:b", "a:b:2", "a:b:no", "a:b:0.5:sideways"])
def test_a_guard_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="--guard"):
        load_guards([given])
