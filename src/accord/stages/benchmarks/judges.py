"""The judge that a config names: a reward model, a local LM, or an endpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from transformers import AutoConfig

from accord.core.chat import ChatReply
from accord.core.device import default_device
from accord.core.interfaces import ChatClient, PairJudge, RubricJudge
from accord.core.run_dir import RunDir
from accord.core.types import Message
from accord.judges.chat_client import HttpChatClient
from accord.judges.endpoint_judge import EndpointGrader, EndpointJudge
from accord.judges.log_prob_judge import LogProbGrader, LogProbJudge
from accord.judges.remembered import Memory, RememberedClient, RememberedGrader, RememberedJudge
from accord.judges.reward_judge import RewardJudge
from accord.models.loading import within_context
from accord.rewards.learned import LearnedReward
from accord.stages.benchmarks.config import Config

_MAX_TOKENS = 2048
"""Of an endpoint's reasoning before its verdict, as MT-Bench has it."""


@dataclass(frozen=True)
class Judge:
    """One judge in its two roles, and what it counted so far."""

    name: str
    pairs: PairJudge
    grades: RubricJudge | None
    client: ChatClient | None
    """the endpoint itself, for suites that bring prompts of their own"""
    counts: Callable[[], Mapping[str, int]]


def judge_of(config: Config, run_dir: RunDir) -> Judge | None:
    """None where no judge is named; answers are remembered in the run directory.

    Raises:
        ConfigError: the key's variable is not set, or the URL is none.
    """
    memory = Memory(run_dir.path / "judgements.jsonl")
    if config.judge_url:
        return _endpoint(config, memory)
    if not config.judge:
        return None
    described = AutoConfig.from_pretrained(config.judge)
    if any("SequenceClassification" in name for name in described.architectures or []):
        most = within_context(config.max_length, described)
        reward = LearnedReward(config.judge, device=default_device(), max_length=most)
        pairs = RewardJudge(reward, name=f"reward model {config.judge}")
        return Judge(pairs.name, RememberedJudge(pairs, memory), None, None, dict)
    judge = LogProbJudge(config.judge, device=default_device())
    same = judge.reader.model, judge.reader.encoder
    grader = LogProbGrader(same, device=default_device())
    return Judge(
        judge.name,
        RememberedJudge(judge, memory),
        RememberedGrader(grader, memory),
        None,
        lambda: dict(judge.counts + grader.counts),
    )


def _endpoint(config: Config, memory: Memory) -> Judge:
    assert config.judge_url and config.judge_name
    http = HttpChatClient(
        config.judge_url, config.judge_name, api_key_env=config.judge_key_variable
    )
    client = RememberedClient(http, memory)
    judge, grader = EndpointJudge(client), EndpointGrader(client)
    return Judge(
        judge.name,
        judge,
        grader,
        client,
        lambda: dict(http.counts + judge.counts + grader.counts),
    )


def ask_with(client: ChatClient) -> Callable[[Sequence[Sequence[Message]]], list[str | None]]:
    """Conversations to texts, None where there is no answer."""

    def ask(conversations: Sequence[Sequence[Message]]) -> list[str | None]:
        replies = client.complete(conversations, temperature=0.0, max_tokens=_MAX_TOKENS)
        return [reply.text if isinstance(reply, ChatReply) else None for reply in replies]

    return ask
