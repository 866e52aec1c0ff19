"""The local judge: one by one, in a batch, packed or padded, it says the same."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.errors import ConfigError, ModelError
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.judges import option_reader
from accord.judges.both_orders import ask_both_orders
from accord.judges.log_prob_judge import ALPACA_EVAL_OPTIONS, LogProbGrader, LogProbJudge
from accord.judges.option_reader import OptionReader, _common_start, _share
from accord.judges.wording import MARK, GradeWording, PairExample, PairWording, transcript
from accord.models.loading import load_policy, load_tokenizer

CPU = torch.device("cpu")
SHORT = PairWording(
    name="short", instruction="Judge.", examples=(PairExample("1?", ("1", "2"), 0),)
)
A = ["yes", "no, never", "I don't know", "12", "The capital"]
B = ["no", "12 and 7 are 19", "What?", "The system said 12", "user asks"]


def prompts(count: int = 5) -> list[list[Message]]:
    return [[{"role": "user", "content": f"Say {'so ' * n}"}] for n in range(count)]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> tuple[Any, ChatEncoder]:
    path = str(tiny_model_dir)
    return load_policy(path, device=CPU), ChatEncoder(load_tokenizer(path))


def naive(model: tuple[Any, ChatEncoder], wording: PairWording, prompt: Any, a: str, b: str) -> Any:
    """The plain way: all logits of one row, by the library alone."""
    policy, encoder = model
    ids = encoder.encode_prompt(wording.messages(transcript(prompt), a, b))
    with torch.no_grad():
        logits = policy(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()
    words = [
        [t for t in range(300) if encoder.tokenizer.decode([t]).strip(" \n\t([{*\"'`") == option]
        for option in wording.options
    ]
    p, q = (logits.softmax(-1)[ids].sum() for ids in words)
    return float(p / (p + q))


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("tokens_per_batch", [8192, 300])
def test_batched_is_one_by_one(
    model: tuple[Any, ChatEncoder],
    is_packed: bool,
    tokens_per_batch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert model[0].packs_rows
    monkeypatch.setattr(model[0], "packs_rows", is_packed)
    judge = LogProbJudge(model, device=CPU, wording=SHORT, tokens_per_batch=tokens_per_batch)
    together = judge.compare(prompts(), A, B)
    rows = list(zip(prompts(), A, B, strict=True))
    single = [judge.compare([p], [a], [b])[0] for p, a, b in rows]
    assert together == pytest.approx(single, abs=1e-4)
    assert together == pytest.approx([naive(model, SHORT, *row) for row in rows], abs=1e-4)
    assert max(together) - min(together) > 1e-3  # it says something
    assert judge.counts["judged"] == 10 and judge.counts["shortened"] == 0


def test_what_all_questions_share_is_computed_once(
    model: tuple[Any, ChatEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    real = option_reader.packed_states

    def spy(trunk: Any, packed: Any) -> Any:
        computed.append(packed.input_ids.shape[1])
        return real(trunk, packed)

    monkeypatch.setattr(option_reader, "packed_states", spy)
    judge = LogProbJudge(model, device=CPU, wording=SHORT)
    asked = [[{"role": "user", "content": f"{n} a long question {n}"}] for n in range(5)]
    ask_both_orders(judge, asked, A, B)
    pairs = [*zip(asked, A, B, strict=True), *zip(asked, B, A, strict=True)]
    rows = [model[1].encode_prompt(SHORT.messages(transcript(p), a, b)) for p, a, b in pairs]
    shared = _common_start(rows)
    of_pair = [_common_start([rows[n], rows[n + 5]]) - shared for n in range(5)]
    assert shared > 150 and min(of_pair) > 30
    # The words around all pairs once, and each pair's prompt once for both of its orders.
    assert sum(computed) == sum(map(len, rows)) - 9 * shared - sum(of_pair)


def test_known_log_odds(model: tuple[Any, ChatEncoder], monkeypatch: pytest.MonkeyPatch) -> None:
    judge = LogProbJudge(model, device=CPU, wording=SHORT)
    known = torch.tensor([[-1.0, -3.0], [-2.0, -2.0], [-700.0, -700.5]], dtype=torch.float64)
    monkeypatch.setattr(judge.reader, "read", lambda _: known)
    found = judge.compare(prompts(3), A[:3], B[:3])
    expected = [1 / (1 + math.exp(-z)) for z in (2.0, 0.0, 0.5)]
    assert found == pytest.approx(expected, abs=1e-6)
    judge.least_mass = 0.1
    found = judge.compare(prompts(3), A[:3], B[:3])
    assert found[:2] == pytest.approx(expected[:2]) and math.isnan(found[2])
    assert judge.counts["abstained"] == 1


def test_both_orders_swap(model: tuple[Any, ChatEncoder]) -> None:
    judge = LogProbJudge(model, device=CPU, wording=SHORT)
    forth, back = (ask_both_orders(judge, prompts(), *pair).mean() for pair in ((A, B), (B, A)))
    assert forth + back == pytest.approx([1.0] * 5, abs=1e-5)


def test_all_spellings_of_an_option_are_read() -> None:
    path = "accord:base"
    from accord.core.assets import resolve_asset

    folder = resolve_asset(path)
    encoder = ChatEncoder(load_tokenizer(folder))
    reader = OptionReader((load_policy(folder, device=CPU), encoder), ("A", "B"), device=CPU)
    texts = [{encoder.tokenizer.decode([i]) for i in ids} for ids in reader.spellings]
    assert {"A", " A"} <= texts[0] and {"B", " B"} <= texts[1]
    assert not any(text.strip(" \n([{*\"'`") != "A" for text in texts[0])
    assert not texts[0] & texts[1]


def test_small_and_capital_m_are_two_options(model: tuple[Any, ChatEncoder]) -> None:
    wording = PairWording(name="m", instruction="Judge.", options=ALPACA_EVAL_OPTIONS)
    judge = LogProbJudge(model, device=CPU, wording=wording)
    assert set(judge.reader.spellings[0]).isdisjoint(judge.reader.spellings[1])
    question = wording.messages("q", "x", "y")[-1]["content"]
    assert "Response m\nx" in question and "Response M\ny" in question


def test_no_token_says_it(model: tuple[Any, ChatEncoder]) -> None:
    with pytest.raises(ModelError, match="no single token says 'Zebra'"):
        OptionReader(model, ("A", "Zebra"), device=CPU)


def test_long_texts_are_shortened_visibly_and_counted(model: tuple[Any, ChatEncoder]) -> None:
    judge = LogProbJudge(model, device=CPU, wording=SHORT)
    long = " ".join(f"word{n}" for n in range(300))
    texts = [transcript(prompts(1)[0]), "short", long]
    ids, was_shortened = judge.reader.fitted(lambda t: SHORT.messages(*t), texts)
    shown = model[1].decode(ids)
    assert was_shortened and 512 - 20 <= len(ids) <= 512
    assert MARK in shown and "word0 " in shown and "word299" in shown and "short\n" in shown
    found = judge.compare(prompts(2), ["short", "short"], [long, "b"])
    assert judge.counts["shortened"] == 1 and judge.counts["judged"] == 2
    assert all(0 < p < 1 for p in found)


def test_a_long_conversation_is_shortened_as_well(model: tuple[Any, ChatEncoder]) -> None:
    judge = LogProbJudge(model, device=CPU, wording=SHORT)
    turns: list[Message] = [
        {"role": "assistant" if n % 2 else "user", "content": f"turn {n} ü" * 20} for n in range(20)
    ]
    assert 0 < judge.compare([turns], ["a"], ["b"])[0] < 1
    assert judge.counts["shortened"] == 1


def test_a_wording_that_fills_the_context(model: tuple[Any, ChatEncoder]) -> None:
    wording = PairWording(name="endless", instruction="Judge. " * 200)
    judge = LogProbJudge(model, device=CPU, wording=wording)
    with pytest.raises(ConfigError, match="leaves nothing for what is judged"):
        judge.compare(prompts(1), ["a"], ["b"])


def test_share_is_the_largest_that_fits() -> None:
    for lengths in itertools.product([0, 1, 5, 9], repeat=3):
        for room in range(20):
            share = _share(list(lengths), room)
            assert sum(min(n, share) for n in lengths) <= room
            if share < max(lengths):
                assert sum(min(n, share + 1) for n in lengths) > room


def test_grades_are_means(model: tuple[Any, ChatEncoder], monkeypatch: pytest.MonkeyPatch) -> None:
    wording = GradeWording(instruction="Grade.", highest=3)
    grader = LogProbGrader(model, device=CPU, wording=wording)
    found = grader.grade(prompts(2), ["a", "b"])
    assert all(1 < grade < 3 for grade in found)
    known = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 0.1]], dtype=torch.float64).log()
    monkeypatch.setattr(grader.reader, "read", lambda _: known)
    assert grader.grade(prompts(2), ["a", "b"]) == pytest.approx([1.75, 3.0])


def test_grades_are_digits() -> None:
    with pytest.raises(ConfigError, match="single digits"):
        GradeWording(highest=10)


def test_a_directory_a_tokenizer_and_an_encoder_are_the_same_judge(
    model: tuple[Any, ChatEncoder], tiny_model_dir: Path
) -> None:
    given: list[Any] = [str(tiny_model_dir), (model[0], model[1].tokenizer), model]
    judges = [LogProbJudge(one, device=CPU, wording=SHORT) for one in given]
    found = [judge.compare(prompts(2), A[:2], B[:2]) for judge in judges]
    assert found[0] == found[1] == found[2]
    assert judges[0].name == f"{tiny_model_dir} ({SHORT.label})"
    assert judges[1].name == f"LlamaForCausalLM ({SHORT.label})"
    named = LogProbJudge(model, device=CPU, wording=SHORT, name="mine")
    assert named.name == f"mine ({SHORT.label})"


def test_nothing_to_judge(model: tuple[Any, ChatEncoder]) -> None:
    assert LogProbJudge(model, device=CPU, wording=SHORT).compare([], [], []) == []
