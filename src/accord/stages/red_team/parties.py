"""Who takes part: the target, the attacker, the scorers, as a config names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from accord.core.interfaces import ChatClient, EngineFactory
from accord.core.judge_config import JudgeConfig
from accord.engine.local_chat import LocalChat
from accord.judges.chat_client import HttpChatClient
from accord.judges.clients import client_of
from accord.judges.remembered import Memory, RememberedClient
from accord.red_team.attack import Attack
from accord.red_team.by_model import Crescendo, Pair, Persuasion, Policy
from accord.red_team.campaign import Models
from accord.red_team.gcg import Gcg
from accord.red_team.injection import Injection
from accord.red_team.named_scorers import NamedScorers
from accord.red_team.rewording import BestOfN, Direct, Encodings, Templates
from accord.red_team.several_turns import Escalation, ManyShot
from accord.red_team.tree import Tree
from accord.stages.red_team.config import Config

SIMPLE: dict[str, type[Attack]] = {
    "direct": Direct,
    "templates": Templates,
    "encodings": Encodings,
    "many_shot": ManyShot,
    "escalation": Escalation,
    "best_of_n": BestOfN,
    "injection": Injection,
    "persuasion": Persuasion,
    "crescendo": Crescendo,
    "pair": Pair,
    "tap": Tree,
    "policy": Policy,
}
"""Attacks by name, but for gcg, which wants the model."""


def attacks_of(config: Config, folder: Path) -> list[Attack]:
    """In the order of the config, each once."""
    names = dict.fromkeys(config.attack)
    return [_gcg(config, folder) if name == "gcg" else SIMPLE[name]() for name in names]


def _gcg(config: Config, folder: Path) -> Attack:
    assert config.model_name_or_path  # the config has checked it
    return Gcg(
        config.model_name_or_path,
        steps=config.gcg_steps,
        candidates=config.gcg_candidates,
        memory=Memory(folder / "suffixes.jsonl"),
    )


class Parties(NamedTuple):
    """Who is asked, and what the clients themselves counted in this process."""

    models: Models
    clients: Mapping[str, LocalChat | HttpChatClient]

    def asked(self) -> dict[str, dict[str, int]]:
        """What this process asked itself: answers, tries, tokens charged, by model."""
        return {who: dict(sorted(client.counts.items())) for who, client in self.clients.items()}

    def cut_prompts(self) -> int:
        """Conversations that lost their beginning to fit a context."""
        local = [c for c in self.clients.values() if isinstance(c, LocalChat)]
        return sum(client.counts["cut"] for client in local)


def parties_of(config: Config, folder: Path, engine_factory: EngineFactory, stop: Any) -> Parties:
    """Clients that remember every answer in files of the folder, and stop when they are told to.

    Raises:
        ConfigError: a key's variable is not set, or a URL is none.
    """
    target = client_of(
        config.model_name_or_path,
        engine_factory,
        url=config.url,
        name=config.name,
        key_variable=config.key_variable,
    )
    attacker = None
    if config.attacker or config.attacker_url:
        attacker = client_of(
            config.attacker,
            engine_factory,
            url=config.attacker_url,
            name=config.attacker_name,
            key_variable=config.attacker_key_variable,
        )

    def remembered(client: ChatClient, file: str) -> ChatClient:
        return RememberedClient(client, Memory(folder / file, stop=stop))

    models = Models(
        remembered(target, "said-by-target.jsonl"),
        None if attacker is None else remembered(attacker, "said-by-attacker.jsonl"),
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        attacker_max_new_tokens=config.attacker_max_new_tokens,
    )
    clients = {"target": target} if attacker is None else {"target": target, "attacker": attacker}
    return Parties(models, clients)


def scorers_of(config: Config) -> NamedScorers:
    """By name, with what they need; not loaded yet."""
    judge = {name: getattr(config, name) for name in JudgeConfig.model_fields}
    return NamedScorers(
        tuple(config.scorers),
        JudgeConfig(**judge),
        config.classifier,
        config.classifier_label,
        config.classifier_finds_refusals,
    )
