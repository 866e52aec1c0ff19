"""The benchmark of hot swaps: what it calls a failure, and a small run."""

import json
from pathlib import Path

import pytest
from benchmarks.hot_swap import Client, measure


def piece(version: str, text: str, finish: str | None = None) -> str:
    choice = {"text": text, "finish_reason": finish}
    return json.dumps({"system_fingerprint": version, "choices": [choice]})


def stream(*pieces: str, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {one}\n\n" for one in pieces) + end


WHOLE = stream(piece("v1", "a "), piece("v1", "b", "stop"))


def asked(
    monkeypatch: pytest.MonkeyPatch, text: str, *, streams: bool, status: int = 200
) -> object:
    monkeypatch.setattr(Client, "send", lambda *_: (status, text))
    return Client(1).ask("x", streams=streams)


def test_a_whole_answer_is_its_versions_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, WHOLE, streams=True) == ("v1", "a b")
    assert asked(monkeypatch, piece("v1", "a b", "stop"), streams=False) == ("v1", "a b")


@pytest.mark.parametrize(
    ("text", "streams", "status"),
    [
        (piece("v1", "a b", "stop"), False, 503),
        (piece("v1", "a b"), False, 200),  # it does not say how it ended
        (stream(piece("v1", "a", "stop"), end=""), True, 200),  # broken off
        (stream(piece("v1", "a")), True, 200),
        (stream(piece("v1", "a"), piece("v2", "b", "stop")), True, 200),  # of two models
        ("", True, 200),
    ],
)
def test_what_is_no_whole_answer_fails(
    monkeypatch: pytest.MonkeyPatch, text: str, streams: bool, status: int
) -> None:
    with pytest.raises(ValueError):
        asked(monkeypatch, text, streams=streams, status=status)


@pytest.mark.slow
def test_no_request_fails(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).parents[1] / "src"
    monkeypatch.setenv("PYTHONPATH", str(source))
    found = measure(tiny_model_dir, requests=600, clients=4)
    assert (found.requests, found.failures) == (600, [])
    assert found.swaps > 0 and found.answers.total() == 600
