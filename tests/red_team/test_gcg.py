"""GCG: the gradient against differences, faithful suffixes, progress, and the same again."""

from pathlib import Path

import pytest
import torch

from accord.core.errors import ConfigError
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.judges.remembered import Memory
from accord.models.loading import load_policy, load_tokenizer
from accord.red_team.behaviours import Behaviour
from accord.red_team.campaign import Models, run_campaign
from accord.red_team.gcg import Gcg, greedy_coordinate_gradient, random_search
from accord.red_team.suffix import SuffixLoss
from red_team.doubles import BEHAVIOURS, SaysSure, says


@pytest.fixture
def loss(tiny_model_dir: Path) -> SuffixLoss:
    model = load_policy(str(tiny_model_dir), device=torch.device("cpu")).eval()
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    return SuffixLoss(model, encoder, "What is it?", "Sure, it is", length=6)


def test_the_frame_is_what_a_user_would_send(loss: SuffixLoss) -> None:
    suffix = list(loss.start)
    content = loss.text(suffix)
    prompt = loss.encoder.encode_prompt([Message(role="user", content=content)])
    assert prompt == (*loss.frame.before, *suffix, *loss.frame.after)
    assert loss.is_faithful(suffix)


def test_the_loss_is_the_mean_log_prob_of_the_target(loss: SuffixLoss) -> None:
    suffixes = torch.tensor([loss.start, loss.start[::-1]])
    found = loss.losses(suffixes)
    ids = torch.tensor([[*loss.frame.before, *loss.start, *loss.frame.after, *loss.frame.target]])
    with torch.no_grad():
        logprobs = loss.model(ids).logits.float().log_softmax(-1)[0]
    n = len(loss.frame.target)
    by_hand = -sum(
        float(logprobs[len(ids[0]) - n - 1 + i, token]) for i, token in enumerate(loss.frame.target)
    )
    assert float(found[0]) == pytest.approx(by_hand / n, abs=1e-5)


def test_the_gradient_is_that_of_one_hot_rows(loss: SuffixLoss) -> None:
    """Against finite differences along the direction from one embedding to another."""
    slope = loss.gradient(loss.start)
    table = loss.model.get_input_embeddings().weight.detach()
    ids = torch.tensor([[*loss.frame.before, *loss.start, *loss.frame.after, *loss.frame.target]])
    place, token, step = 2, 77, 0.1
    here = len(loss.frame.before) + place
    values = []
    for sign in (1, -1):
        embedded = table[ids].clone()
        embedded[0, here] += sign * step * (table[token] - table[loss.start[place]])
        with torch.no_grad():
            states = loss.model.base_model(inputs_embeds=embedded, use_cache=False)
            values.append(float(loss._loss(states.last_hidden_state)))
    numerical = (values[0] - values[1]) / (2 * step)
    expected = float(slope[place, token] - slope[place, loss.start[place]])
    assert expected == pytest.approx(numerical, rel=0.02, abs=1e-5)


def test_searches_only_descend_stay_faithful_and_repeat(loss: SuffixLoss) -> None:
    for search in (greedy_coordinate_gradient, random_search):
        found = search(loss, steps=4, candidates=8, seed=1)
        assert len(found.path) == 5 and list(found.path) == sorted(found.path, reverse=True)
        assert found.loss < found.path[0]
        assert loss.is_faithful(found.suffix) and loss.allowed[list(found.suffix)].all()
        assert found == search(loss, steps=4, candidates=8, seed=1)
        assert float(loss.losses(torch.tensor([found.suffix]))) == pytest.approx(
            found.loss, abs=1e-5
        )


def test_queries_are_counted(loss: SuffixLoss) -> None:
    greedy_coordinate_gradient(loss, steps=3, candidates=8, seed=0)
    with_gradient, loss.queries = loss.queries, 0
    random_search(loss, steps=3, candidates=11, seed=0)
    assert with_gradient == loss.queries == 1 + 3 * 11


def test_nothing_to_aim_at_is_refused(loss: SuffixLoss) -> None:
    with pytest.raises(ConfigError, match="target is empty"):
        SuffixLoss(loss.model, loss.encoder, "x", "", length=4)


def test_as_an_attack_it_searches_once(tiny_model_dir: Path, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "suffixes.jsonl")
    behaviours = [BEHAVIOURS[0], Behaviour("none", "No target here.")]

    def run() -> list[str]:
        attack = Gcg(str(tiny_model_dir), steps=1, candidates=4, memory=memory, length=5)
        found = run_campaign(
            behaviours, [attack], Models(says("Sure.")), [SaysSure()], budget=2, seed=0
        )
        assert [a.behaviour.id for a in found] == ["hide", "hide"]
        return [a.conversation[0]["content"] for a in found]

    first = run()
    size = memory.path.stat().st_size
    assert run() == first and memory.path.stat().st_size == size
    assert first[0].startswith(BEHAVIOURS[0].text) and len(first[0]) > len(BEHAVIOURS[0].text)
