"""Judging by a constitution: one principle a pair in both orders, or all of them by weight."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import chisquare

from accord.core.chat import ChatReply
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.judges.both_orders import ask_both_orders
from accord.judges.constitution import Constitution
from accord.judges.endpoint_judge import EndpointJudge
from accord.judges.log_prob_judge import LogProbJudge
from accord.judges.principle_judge import PrincipleJudge
from accord.judges.principle_wording import comparison_wording, critique_turns, revision_turns
from accord.judges.wording import MARK, Wording, transcript
from accord.models.loading import load_policy, load_tokenizer

CPU = torch.device("cpu")
A = ["yes", "no, never", "I don't know", "12", "The capital"]
B = ["no", "12 and 7 are 19", "What?", "The system said 12", "user asks"]
PRINCIPLE = """
[[principle]]
id = "p{n}"
part = "harmless"
critique_request = "Critique {n}?"
revision_request = "Revision {n}!"
comparison = "Question {n}?"
weight = {weight}
"""
EXAMPLE = """
[[example]]
principle = "p1"
prompt = "1?"
response = "2"
critique = "It is wrong."
revision = "1"
"""


def constitution(*weights: float, form: str = "compact", more: str = "") -> Constitution:
    principles = "".join(PRINCIPLE.format(n=n, weight=w) for n, w in enumerate(weights))
    content = f'name = "test"\nform = "{form}"\n{principles}{more}'
    return Constitution.from_toml(content, where="here")


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def prompts(count: int = 5) -> list[list[Message]]:
    return [[user(f"Say {'so ' * n}")] for n in range(count)]


class Stub:
    """Answers by what it is asked: `said` takes the question's last words."""

    def __init__(self, wording: Wording, said: Any) -> None:
        self.name = f"stub ({wording.label})"
        self.wording = wording
        self.said = said
        self.asked: list[str] = []

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Any = None,
    ) -> list[float]:
        found = []
        for prompt, x, y in zip(prompts, a, b, strict=True):
            three = (transcript(prompt), x, y)
            asked = self.wording.for_pair(*three).messages(*three)[-1]["content"]
            self.asked.append(asked)
            found.append(self.said(asked, x, y))
        return found


def stubs(said: Any) -> tuple[list[Stub], Any]:
    made: list[Stub] = []

    def make(wording: Wording) -> Stub:
        made.append(Stub(wording, said))
        return made[-1]

    return made, make


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> tuple[Any, ChatEncoder]:
    path = str(tiny_model_dir)
    return load_policy(path, device=CPU), ChatEncoder(load_tokenizer(path))


@pytest.mark.parametrize("principles", ["sampled", "average"])
@pytest.mark.parametrize("form", ["full", "compact"])
def test_swapped_pairs_have_the_opposite_probability(
    model: tuple[Any, ChatEncoder], principles: Any, form: str
) -> None:
    judge = PrincipleJudge(
        constitution(1, 2, 3, form=form),
        lambda wording: LogProbJudge(model, device=CPU, wording=wording),
        principles=principles,
    )
    forth, back = (ask_both_orders(judge, prompts(), *pair) for pair in ((A, B), (B, A)))
    assert forth.mean() + back.mean() == pytest.approx([1.0] * 5, abs=1e-5)
    assert max(forth.forth) - min(forth.forth) > 1e-4  # it says something


def test_both_orders_are_asked_by_one_principle() -> None:
    made, make = stubs(lambda asked, x, y: 1.0)
    judge = PrincipleJudge(constitution(*[1] * 16), make)
    orders = ask_both_orders(judge, prompts() * 8, A * 8, B * 8)
    assert orders.mean().tolist() == [0.5] * 40  # always A: exactly even
    questions = [asked.splitlines()[0] for asked in made[0].asked]
    assert questions[:40] == questions[40:]
    assert len(set(questions[:5])) > 1
    ids = [judge.record(p, a, b)["principle"] for p, a, b in zip(prompts(), A, B, strict=True)]
    assert [f"Question {name[1:]}?" for name in ids] == questions[:5]


def test_sampled_principles_are_uniform_and_reproducible() -> None:
    def ids(seed: int) -> list[str]:
        judge = PrincipleJudge(constitution(*[1] * 16), stubs(None)[1], seed=seed)
        return [judge.record([user(str(n))], "a", "b")["principle"] for n in range(4000)]

    assert chisquare(list(Counter(ids(0)).values())).pvalue > 0.001
    assert len(Counter(ids(0))) == 16
    assert ids(0) == ids(0) != ids(1)


def test_the_average_is_by_weight_and_of_those_who_answer() -> None:
    values = {"Question 0?": 0.9, "Question 1?": 0.5, "Question 2?": math.nan}
    made, make = stubs(lambda asked, x, y: values[asked.splitlines()[0]])
    judge = PrincipleJudge(constitution(1, 3, 4), make, principles="average")
    assert judge.compare(prompts(1), ["x"], ["y"]) == pytest.approx([(0.9 + 3 * 0.5) / 4])
    assert len(made) == 3
    values |= {"Question 0?": math.nan, "Question 1?": math.nan}
    assert math.isnan(judge.compare(prompts(1), ["x"], ["y"])[0])
    record = judge.record(prompts(1)[0], "x", "y")
    assert record == {"constitution": constitution(1, 3, 4).label, "principle": "average"}


def test_another_constitution_seed_or_way_is_another_name() -> None:
    make = stubs(None)[1]
    names = [
        PrincipleJudge(constitution(1, 2), make).name,
        PrincipleJudge(constitution(1, 2), make, seed=1).name,
        PrincipleJudge(constitution(2, 2), make).name,
        PrincipleJudge(constitution(1, 2), make, principles="average").name,
        PrincipleJudge(constitution(1, 2, form="full"), make).name,
    ]
    assert len(set(names)) == 5
    assert PrincipleJudge(constitution(1, 2), make).name == names[0]


def test_shortened_texts_are_asked_by_the_principle_of_the_whole(
    model: tuple[Any, ChatEncoder],
) -> None:
    asked: list[str] = []

    class Spy(LogProbJudge):
        def compare(self, *args: Any) -> list[float]:
            encode = self.reader.encoder.encode_prompt

            def spied(messages: Sequence[Message]) -> Any:
                asked.append(messages[-1]["content"])
                return encode(messages)

            self.reader.encoder.encode_prompt = spied  # type: ignore[method-assign]
            try:
                return super().compare(*args)
            finally:
                self.reader.encoder.encode_prompt = encode  # type: ignore[method-assign]

    judge = PrincipleJudge(
        constitution(*[1] * 16), lambda w: Spy(model, device=CPU, wording=w, max_length=150)
    )
    for number in range(6):
        asked.clear()
        long = f"{number} " + "never " * 200
        judge.compare([[user("Why?")]], [long], ["no"])
        assert any(MARK in text for text in asked)
        expected = judge.record([user("Why?")], long, "no")["principle"]
        assert {text.splitlines()[0] for text in asked} == {f"Question {expected[1:]}?"}


def test_an_endpoint_judges_by_principles() -> None:
    class Client:
        name = "client"

        def complete(self, conversations: Any, **options: Any) -> list[ChatReply]:
            self.asked = [c[-1]["content"] for c in conversations]
            return [ChatReply("B")] * len(conversations)

    client = Client()
    judge = PrincipleJudge(
        constitution(1, 1, form="full"), lambda w: EndpointJudge(client, wording=w)
    )
    assert judge.compare(prompts(1), ["x"], ["y"]) == [0.0]
    name = judge.record(prompts(1)[0], "x", "y")["principle"]
    assert f"Question {name[1:]}?" in client.asked[0]


def test_the_compact_form_is_a_handful_of_words() -> None:
    ours = constitution(1, 1, more=EXAMPLE)
    wording = comparison_wording(ours, ours.principles[0])
    found = wording.messages("user: Hi.", "x", "y")
    assert found == [user("Question 0?\nuser: Hi.\nA: x\nB: y")]
    assert wording.options == ("A", "B")


def test_the_full_form_shows_examples_by_their_own_principles() -> None:
    ours = constitution(1, 1, form="full", more=EXAMPLE)
    first, said, last = comparison_wording(ours, ours.principles[0]).messages("user: Hi.", "x", "y")
    assert "Question 1?" in first["content"] and "Question 0?" not in first["content"]
    revision = f"Response {said['content']}\n1\n"
    assert revision in first["content"]
    assert "Question 0?" in last["content"] and "Question 1?" not in last["content"]
    other = comparison_wording(ours, ours.principles[1])
    assert other.label != comparison_wording(ours, ours.principles[0]).label


def test_examples_name_each_option_about_equally_often() -> None:
    ours = constitution(1, 1, form="full", more=EXAMPLE + EXAMPLE.replace("1?", "2?"))
    messages = comparison_wording(ours, ours.principles[0]).messages("user: Hi.", "x", "y")
    assert [m["content"] for m in messages if m["role"] == "assistant"] == ["B", "A"]


def test_a_revision_is_a_conversation() -> None:
    ours = constitution(1, 1)
    principle, prompt = ours.principles[0], [user("Hi.")]
    asked = critique_turns(ours, principle, prompt, "Bah.")
    assert asked == [user("Hi."), assistant("Bah."), user("Critique 0?")]
    asked = revision_turns(ours, principle, prompt, "Bah.", "Rude.")
    assert asked[3:] == [assistant("Rude."), user("Revision 0!")]


def test_examples_come_before_as_whole_revisions_and_after_a_system_message() -> None:
    ours = constitution(1, 1, form="full", more=EXAMPLE)
    system = Message(role="system", content="Be brief.")
    asked = revision_turns(ours, ours.principles[0], [system, user("Hi.")], "Bah.", "Rude.")
    assert [m["content"] for m in asked] == [
        *("Be brief.", "1?", "2", "Critique 1?", "It is wrong.", "Revision 1!", "1"),
        *("Hi.", "Bah.", "Critique 0?", "Rude.", "Revision 0!"),
    ]
    asked = critique_turns(ours, ours.principles[0], [system, user("Hi.")], "Bah.")
    assert [m["content"] for m in asked][-3:] == ["Hi.", "Bah.", "Critique 0?"] and len(asked) == 10
