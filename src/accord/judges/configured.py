"""The judge that a config names: a reward model, a local LM, or an endpoint."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from accord.core.chat import ChatReply
from accord.core.device import default_device
from accord.core.errors import ConfigError
from accord.core.files import versioned
from accord.core.interfaces import ChatClient, EngineFactory, PairJudge, RubricJudge
from accord.core.judge_config import JudgeConfig
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.engine.local_chat import LocalChat
from accord.judges.aspects import AspectGrader, PairsByGrade
from accord.judges.chat_client import HttpChatClient
from accord.judges.constitution import Constitution, read_constitution
from accord.judges.endpoint_judge import EndpointGrader, EndpointJudge
from accord.judges.log_prob_judge import LogProbGrader, LogProbJudge
from accord.judges.principle_judge import PrincipleJudge
from accord.judges.ranking import RankByGrade, RankJudge, WrittenRanker
from accord.judges.remembered import Memory, RememberedClient, RememberedGrader, RememberedJudge
from accord.judges.reward_judge import RewardJudge
from accord.judges.thinking import ThinkingJudge, VerdictReader
from accord.judges.wording import GradeWording, Wording
from accord.models.heads import is_reward_model
from accord.models.loading import load_policy, load_tokenizer, within_context
from accord.rewards.learned import LearnedReward

_MAX_TOKENS = 2048
"""Of an endpoint's reasoning before its verdict, as MT-Bench has it."""


@dataclass(frozen=True)
class Judge:
    """One judge in its roles, and what it counted so far."""

    name: str
    pairs: PairJudge
    grades: RubricJudge | None
    """None where its grades have no scale that others know"""
    ranks: RankJudge | None
    """None where it compares pairs alone"""
    client: ChatClient | None
    """the endpoint itself, for suites that bring prompts of their own"""
    counts: Callable[[], Mapping[str, int]]
    """of questions, abstentions, failures; of an endpoint "prompt_tokens" and "completion_tokens",
    also those that an earlier start of the run paid for"""
    aspects: AspectGrader | None = None
    """where it grades by several"""
    unfilled: Callable[[], int] = lambda: 0
    """judgements that people have still to give"""
    are_people: bool = False
    close: Callable[[], None] = lambda: None
    record: Callable[[Sequence[Message], str, str], dict[str, str]] = lambda *_: {}
    """from a prompt and its two responses to columns of the judgement: by which principle"""
    reader: VerdictReader | None = None
    """what gives the verdicts, for other conversations; None where it does not read"""


def judge_of(
    config: JudgeConfig,
    remembered: Path,
    *,
    max_length: int,
    engine_factory: EngineFactory | None = None,
    stop: object = None,
) -> Judge | None:
    """None where no judge is named.

    Args:
        config: names it.
        remembered: the file in which its answers are kept, so that none is asked for twice.
        max_length: most tokens that a reward model reads; a shorter context counts.
        engine_factory: writes the reasons of a local judge that thinks.
        stop: once it is true in a boolean context, the judge asks nothing more.

    Raises:
        ConfigError: the key is not set, the URL is none, the constitution cannot be used,
            or the judge cannot do what it is asked for: nothing is asked then.
        ModelError: there is no such model.
    """
    memory = Memory(remembered, stop=stop)
    if config.constitution:
        return _by_constitution(
            config, read_constitution(config.constitution), memory, engine_factory
        )
    if config.judge_url:
        return _endpoint(config, memory)
    if not config.judge:
        return None
    if is_reward_model(config.judge):
        return _reward(config, memory, max_length)
    return _local(config, memory, engine_factory)


def _reward(config: JudgeConfig, memory: Memory, max_length: int) -> Judge:
    assert config.judge
    if config.judge_thinks or config.judge_aspects:
        raise ConfigError(f"{config.judge}: a reward model has one score, no reasons or aspects")
    longest = within_context(max_length, AutoConfig.from_pretrained(config.judge))
    reward = LearnedReward(config.judge, device=default_device(), max_length=longest)
    name = f"reward model {versioned(config.judge)}"
    pairs = RewardJudge(reward, name=name)
    return Judge(
        name,
        RememberedJudge(pairs, memory),
        None,
        RankByGrade(RememberedGrader(pairs.grader, memory)),
        None,
        lambda: {**pairs.counts, "shortened": reward.cut_rows},
    )


def _local(config: JudgeConfig, memory: Memory, engine_factory: EngineFactory | None) -> Judge:
    assert config.judge
    device = default_device()
    name, least = versioned(config.judge), config.judge_least_mass
    judge = LogProbJudge(config.judge, device=device, name=name, least_mass=least)
    same = judge.reader.model, judge.reader.encoder

    def grader(wording: GradeWording) -> LogProbGrader:
        return LogProbGrader(same, device=device, wording=wording, name=name, least_mass=least)

    thinks = _thinker(config, engine_factory, memory)
    return _with_roles(config, thinks(judge), grader, memory=memory)


def _thinker(
    config: JudgeConfig, engine_factory: EngineFactory | None, memory: Memory
) -> Callable[[LogProbJudge], Any]:
    """Makes a local judge think first, where the config says so."""
    if not config.judge_thinks:
        return lambda judge: judge
    if engine_factory is None:
        raise ConfigError(f"{config.judge}: this stage has nothing that writes its reasons")
    assert config.judge
    writer = RememberedClient(LocalChat(config.judge, engine_factory), memory)
    return lambda judge: ThinkingJudge(writer, judge)


def _by_constitution(
    config: JudgeConfig,
    constitution: Constitution,
    memory: Memory,
    engine_factory: EngineFactory | None,
) -> Judge:
    """It judges pairs alone: grades, rankings and other people's prompts know no principle."""
    if config.judge_thinks and constitution.form == "compact":
        raise ConfigError("a constitution in compact form leaves no room for reasons")
    asked: list[Any] = []
    if config.judge_url:
        judge_in = _endpoint_in(config, memory, asked)
    else:
        judge_in = _local_in(config, memory, asked, _thinker(config, engine_factory, memory))
    judge = PrincipleJudge(constitution, judge_in, principles=config.principles, seed=config.seed)

    def counts() -> Mapping[str, int]:
        return dict(sum((part() for part in asked), Counter[str]()))

    return Judge(judge.name, judge, None, None, None, counts, record=judge.record)


def _local_in(
    config: JudgeConfig, memory: Memory, asked: list[Any], thinks: Callable[[LogProbJudge], Any]
) -> Callable[[Wording], PairJudge]:
    """Makes judges in given words around one model, and adds what each counts to `asked`."""
    assert config.judge
    if is_reward_model(config.judge):
        raise ConfigError(
            f"{config.judge} is a reward model, which reads no constitution; give a causal LM"
        )
    device, encoder = default_device(), ChatEncoder(load_tokenizer(config.judge))
    model, name = (load_policy(config.judge, device=device), encoder), versioned(config.judge)

    def judge_in(wording: Wording) -> PairJudge:
        judge = LogProbJudge(
            model, device=device, wording=wording, name=name, least_mass=config.judge_least_mass
        )
        asked.append(lambda: judge.counts)
        return RememberedJudge(thinks(judge), memory)

    return judge_in


def _endpoint_in(
    config: JudgeConfig, memory: Memory, asked: list[Any]
) -> Callable[[Wording], PairJudge]:
    """As `_local_in`, behind an endpoint."""
    http = http_client(config)
    client = RememberedClient(http, memory)
    asked.append(lambda: _spent(http, client))

    def judge_in(wording: Wording) -> PairJudge:
        judge = EndpointJudge(client, wording=wording, votes=config.judge_votes)
        asked.append(lambda: judge.counts)
        return ThinkingJudge(client, judge) if config.judge_thinks else judge

    return judge_in


def _spent(http: HttpChatClient, client: RememberedClient) -> Counter[str]:
    """What an endpoint counted, with the tokens also of answers that an earlier start paid for."""
    total = Counter(http.counts)
    total.pop("prompt_tokens", None)
    total.pop("completion_tokens", None)
    return total + client.tokens


def http_client(config: JudgeConfig) -> HttpChatClient:
    """The endpoint that a config names, asked no faster than it says."""
    assert config.judge_url and config.judge_name
    return HttpChatClient(
        config.judge_url,
        config.judge_name,
        api_key_env=config.judge_key_variable,
        concurrency=config.judge_concurrency,
        requests_per_minute=config.judge_requests_per_minute,
        timeout_s=config.judge_timeout_s,
    )


def _endpoint(config: JudgeConfig, memory: Memory) -> Judge:
    http = http_client(config)
    client = RememberedClient(http, memory)
    votes = config.judge_votes
    judge: Any = EndpointJudge(client, votes=votes)

    def grader(wording: GradeWording) -> EndpointGrader:
        return EndpointGrader(client, wording=wording, votes=votes)

    if config.judge_thinks:
        judge = ThinkingJudge(client, judge)
    return _with_roles(config, judge, grader, client=client, http=http)


def _with_roles(
    config: JudgeConfig,
    judge: Any,
    grader: Callable[[GradeWording], Any],
    *,
    memory: Memory | None = None,
    client: RememberedClient | None = None,
    http: HttpChatClient | None = None,
) -> Judge:
    """A judge that reads, as one of pairs, of single responses and of rankings.

    What an endpoint says is remembered by its client; `memory` is for what has none.
    """

    def kept(grades: Any) -> RubricJudge:
        found: RubricJudge = grades if memory is None else RememberedGrader(grades, memory)
        return found

    bare = [grader(_aspect(name)) for name in config.judge_aspects] or [grader(GradeWording())]
    each = dict(zip(config.judge_aspects, map(kept, bare), strict=False))
    aspects = AspectGrader(each, config.judge_aspects) if each else None
    grades = aspects or kept(bare[0])
    pairs: PairJudge = judge if memory is None else RememberedJudge(judge, memory)
    written = None if client is None or aspects else WrittenRanker(client)

    def counts() -> dict[str, int]:
        total: Counter[str] = Counter()
        if http is not None and client is not None:
            total = _spent(http, client)
        for part in (judge, *bare, *([written] if written else [])):
            total.update(part.counts)
        return dict(total)

    return Judge(
        aspects.name if aspects else judge.name,
        PairsByGrade(aspects) if aspects else pairs,
        grades,
        written or RankByGrade(grades),
        client,
        counts,
        aspects,
        reader=judge.reader if isinstance(judge, ThinkingJudge) else judge,
    )


def _aspect(name: str) -> GradeWording:
    return GradeWording(name=name, criterion=name)


def ask_with(client: ChatClient) -> Callable[[Sequence[Sequence[Message]]], list[str | None]]:
    """Conversations to texts, None where there is no answer."""

    def ask(conversations: Sequence[Sequence[Message]]) -> list[str | None]:
        replies = client.complete(conversations, temperature=0.0, max_tokens=_MAX_TOKENS)
        return [reply.text if isinstance(reply, ChatReply) else None for reply in replies]

    return ask
