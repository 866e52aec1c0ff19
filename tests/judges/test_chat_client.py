"""The client against an endpoint that refuses, breaks, drips, lies and sleeps."""

import email.utils
import time
from typing import Any

import pytest

from accord.core.chat import ChatFailure, ChatReply
from accord.core.errors import ConfigError
from accord.core.types import Message
from accord.judges.chat_client import LONGEST_RETRY_AFTER_S, HttpChatClient
from judges.fake_endpoint import FakeEndpoint, Raw, completion

KEY = "sk-secret-4711"


def asked(*texts: str) -> list[list[Message]]:
    return [[{"role": "user", "content": text}] for text in texts]


def client(endpoint: FakeEndpoint, waits: list[float] | None = None, **options: Any) -> Any:
    waits = [] if waits is None else waits
    return HttpChatClient(endpoint.url, "judge-1", sleep=waits.append, **options)


def complete(found: HttpChatClient, *texts: str, **options: Any) -> list[ChatReply | ChatFailure]:
    return found.complete(asked(*texts), temperature=0.0, max_tokens=4, **options)


def test_answers_come_in_order_and_no_more_at_once_than_allowed() -> None:
    def answer(request: dict[str, Any], number: int) -> Raw:
        time.sleep(0.02 * (3 - number % 4))  # later ones overtake
        return completion(request["messages"][0]["content"].upper(), finish="length")

    with FakeEndpoint(answer) as endpoint:
        judge = client(endpoint, concurrency=3)
        replies = complete(judge, *"abcdefgh")
    assert replies == [ChatReply(letter, "length") for letter in "ABCDEFGH"]
    assert 1 < endpoint.most_at_once <= 3
    assert judge.counts == {
        "requests": 8, "answered": 8, "prompt_tokens": 80, "completion_tokens": 16,
    }  # fmt: skip
    sent = endpoint.requests[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("judge-1", 0.0, 4)
    assert "logprobs" not in sent and "seed" not in sent


def test_a_seed_draws_again_where_answers_are_drawn() -> None:
    with FakeEndpoint(lambda *_: completion("A")) as endpoint:
        for temperature in (0.0, 1.0):
            question: list[Message] = [{"role": "user", "content": "x"}]
            client(endpoint).complete([question], temperature=temperature, max_tokens=1, seed=7)
    assert [sent.get("seed") for sent in endpoint.requests] == [None, 7]


def test_log_probs_are_of_the_first_token() -> None:
    top = {"A": -0.1, " B": -2.5}
    with FakeEndpoint(lambda *_: completion("A", top=top)) as endpoint:
        (reply,) = complete(client(endpoint), "x", top_logprobs=5)
    assert reply == ChatReply("A", "stop", top)
    assert endpoint.requests[0]["logprobs"] is True and endpoint.requests[0]["top_logprobs"] == 5


@pytest.mark.parametrize("as_date", [False, True])
def test_a_rate_limit_is_waited_out(as_date: bool) -> None:
    after = email.utils.formatdate(time.time() + 30, usegmt=True) if as_date else "30"

    def answer(_: Any, number: int) -> Raw:
        return completion("ok") if number else Raw(429, headers={"Retry-After": after})

    waits: list[float] = []
    with FakeEndpoint(answer) as endpoint:
        judge = client(endpoint, waits)
        assert complete(judge, "x") == [ChatReply("ok")]
    assert max(waits) == pytest.approx(30, abs=2)
    assert judge.counts["retries"] == 1 and judge.counts["answered"] == 1
    assert "rate_limit" not in judge.counts  # it passed


def test_too_long_a_pause_is_no_answer() -> None:
    after = str(LONGEST_RETRY_AFTER_S + 1)
    with FakeEndpoint(lambda *_: Raw(429, headers={"Retry-After": after})) as endpoint:
        judge = client(endpoint)
        (failure,) = complete(judge, "x")
    assert failure == ChatFailure("rate_limit", "HTTP 429")
    assert len(endpoint.requests) == 1 and judge.counts["rate_limit"] == 1


def test_server_errors_are_tried_again_with_growing_waits() -> None:
    waits: list[float] = []
    with FakeEndpoint(lambda *_: Raw(503)) as endpoint:
        judge = client(endpoint, waits, max_retries=3)
        (failure,) = complete(judge, "x")
    assert failure == ChatFailure("server", "HTTP 503")
    assert len(endpoint.requests) == 4
    assert [wait == pytest.approx(2.0**n, rel=0.26) for n, wait in enumerate(waits)] == [True] * 3
    assert judge.counts == {"requests": 4, "retries": 3, "server": 1}


def test_a_refusal_is_quoted_without_the_key_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    body = f"too long; your key {KEY} was fine".encode()
    with FakeEndpoint(lambda *_: Raw(400, body)) as endpoint:
        (failure,) = complete(client(endpoint, api_key_env="JUDGE_KEY"), "x")
    assert failure == ChatFailure("refused", "HTTP 400: too long; your key *** was fine")
    assert len(endpoint.requests) == 1
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_no_money_left_is_silence_and_not_tried_again() -> None:
    with FakeEndpoint(lambda *_: Raw(402, b"Insufficient Balance")) as endpoint:
        judge = client(endpoint)
        (failure,) = complete(judge, "x")
    assert failure == ChatFailure("rate_limit", "HTTP 402: Insufficient Balance")
    assert judge.counts == {"requests": 1, "rate_limit": 1}


@pytest.mark.parametrize("status", [408, 409, 425])
def test_errors_that_say_nothing_about_the_question_are_tried_again(status: int) -> None:
    def answer(_: Any, number: int) -> Raw:
        return completion("ok") if number else Raw(status)

    with FakeEndpoint(answer) as endpoint:
        assert complete(client(endpoint), "x") == [ChatReply("ok")]
    with FakeEndpoint(lambda *_: Raw(status)) as endpoint:
        (failure,) = complete(client(endpoint, max_retries=1), "x")
    assert failure == ChatFailure("server", f"HTTP {status}")


@pytest.mark.parametrize(("status", "error"), [(404, ConfigError), (503, KeyboardInterrupt)])
def test_what_was_answered_before_the_end_comes_with_the_error(
    status: int, error: type[BaseException]
) -> None:
    def answer(request: dict[str, Any], _: int) -> Raw:
        text = request["messages"][0]["content"]
        return Raw(400) if text == "b" else Raw(status) if text == "d" else completion(text)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with FakeEndpoint(answer) as endpoint, pytest.raises(error) as caught:
        judge = HttpChatClient(endpoint.url, "judge-1", concurrency=1, sleep=interrupted)
        complete(judge, *"abcdefgh")
    first, second, third, *rest = caught.value.replies
    assert (first, third) == (ChatReply("a"), ChatReply("c"))
    assert isinstance(second, ChatFailure) and len(rest) == 5 and rest[0] is None


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_no_question_can_mend_stops(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with (
        FakeEndpoint(lambda *_: Raw(status, KEY.encode())) as endpoint,
        pytest.raises(ConfigError, match=f"HTTP {status}.*the key in JUDGE_KEY") as caught,
    ):
        complete(client(endpoint, api_key_env="JUDGE_KEY", concurrency=1), *"abcdefgh")
    assert KEY not in str(caught.value)
    assert len(endpoint.requests) < 8


@pytest.mark.parametrize("key", ["", "sk-1\nX-Evil: 1", "schlüssel"])
def test_a_key_that_is_none(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(ConfigError, match="JUDGE_KEY is not set, or holds no key") as caught:
        HttpChatClient("http://127.0.0.1:9/v1", "judge-1", api_key_env="JUDGE_KEY")
    assert not key or key not in str(caught.value)


def test_the_key_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    judge = HttpChatClient("http://127.0.0.1:9/v1", "judge-1", api_key_env="JUDGE_KEY")
    assert KEY not in repr(vars(judge))


def test_a_redirect_does_not_take_the_key_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with (
        FakeEndpoint(lambda *_: completion("thanks")) as thief,
        FakeEndpoint(lambda *_: Raw(302, b"", {"Location": thief.url})) as endpoint,
    ):
        (failure,) = complete(client(endpoint, api_key_env="JUDGE_KEY"), "x")
    assert isinstance(failure, ChatFailure) and failure.kind == "refused"
    assert thief.requests == []


def test_a_silent_endpoint_times_out() -> None:
    def answer(*_: Any) -> Raw:
        endpoint.over.wait(5)
        return completion("late")

    with FakeEndpoint(answer) as endpoint:
        judge = client(endpoint, timeout_s=0.1, max_retries=1)
        (failure,) = complete(judge, "x")
        endpoint.over.set()
    assert failure == ChatFailure("timeout", "no answer within 0.1 s")
    assert judge.counts == {"requests": 2, "retries": 1, "timeout": 1}


def test_an_answer_that_drips_does_not_outlast_its_time() -> None:
    slow = completion("slow")._replace(drip_s=0.03)  # never silent for long, and takes 3 s
    with FakeEndpoint(lambda *_: slow) as endpoint:
        (failure,) = complete(client(endpoint, timeout_s=0.3, max_retries=0), "x")
    assert isinstance(failure, ChatFailure) and failure.kind == "timeout"


def test_a_body_that_breaks_off_is_asked_for_again() -> None:
    def answer(_: Any, number: int) -> Raw:
        whole = completion("whole")
        return whole if number else whole._replace(body=whole.body[:20], announced=len(whole.body))

    with FakeEndpoint(answer) as endpoint:
        judge = client(endpoint)
        assert complete(judge, "x") == [ChatReply("whole")]
    assert judge.counts["retries"] == 1


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"choices": [{"message": null}]}', b"\xff",
     b'{"choices": [{"message": {"content": 7}}]}', b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_no_answer(body: bytes) -> None:
    with FakeEndpoint(lambda *_: Raw(body=body)) as endpoint:
        (failure,) = complete(client(endpoint), "x")
    assert isinstance(failure, ChatFailure) and failure.kind == "malformed"
    assert len(endpoint.requests) == 1


def test_an_answer_of_which_a_filter_left_nothing_is_a_refusal() -> None:
    with FakeEndpoint(lambda *_: Raw(body=b'{"choices": []}')) as endpoint:
        (failure,) = complete(client(endpoint), "x")
    assert failure == ChatFailure("refused", "an answer without choices")
    assert len(endpoint.requests) == 1


def test_nobody_there() -> None:
    with FakeEndpoint(lambda *_: Raw()) as endpoint:
        pass
    (failure,) = complete(client(endpoint, max_retries=2), "x")
    assert isinstance(failure, ChatFailure) and failure.kind == "unreachable"


def test_no_address() -> None:
    with pytest.raises(ConfigError, match="expected http"):
        HttpChatClient("file:///etc/passwd", "judge-1")


def test_requests_are_spaced_evenly() -> None:
    waits: list[float] = []
    with FakeEndpoint(lambda *_: completion("A")) as endpoint:
        complete(client(endpoint, waits, requests_per_minute=2.0), *"abcd")
    assert sorted(waits) == pytest.approx([30, 60, 90], abs=5)


def test_a_reply_tells_what_it_cost() -> None:
    with FakeEndpoint(lambda *_: completion("A")) as endpoint:
        (reply,) = complete(client(endpoint), "x")
    assert isinstance(reply, ChatReply)
    assert (reply.prompt_tokens, reply.completion_tokens) == (10, 2)


def test_an_answer_without_words_is_an_answer() -> None:
    body = b'{"choices": [{"message": {"content": null}}], "usage": {"completion_tokens": 9}}'
    with FakeEndpoint(lambda *_: Raw(body=body)) as endpoint:
        judge = client(endpoint)
        assert complete(judge, "x") == [ChatReply("", completion_tokens=9)]
    assert judge.counts["completion_tokens"] == 9  # it is charged, and so it is remembered


def test_a_text_is_one_that_every_store_takes() -> None:
    assert ChatReply("a\0b\ud83d").text == "a\ufffdb?"
