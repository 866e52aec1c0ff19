"""Environments by name, with what they share: an index, a sandbox, tools."""

import atexit
import functools
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from accord.core.errors import ConfigError, describe_choice
from accord.core.interfaces import EnvironmentFactory
from accord.environments.calculator import calculator
from accord.environments.chain_of_thought import ChainOfThought
from accord.environments.conversation import Conversation
from accord.environments.documents import load_documents, passages_of
from accord.environments.embedding import (
    Embedder,
    PooledStates,
    SentenceModel,
    is_sentence_model,
)
from accord.environments.index import Index, build_index, fingerprint, is_index
from accord.environments.mcp import McpServer
from accord.environments.opening import Exemplar, load_exemplars
from accord.environments.program import LIMITS, ProgramAided, program_tool
from accord.environments.react import ReAct
from accord.environments.retrieval import MIN_COVERAGE, Retrieval, SearchTools
from accord.environments.tools import Tool, Toolbox, tool_of
from accord.rewards.functions import load_dotted
from accord.sandbox.levels import Level
from accord.sandbox.sandbox import Sandbox

CALCULATING = (
    "Work it out with the calculator, then finish. Write one action a turn:\n{tools}\n"
    "finish[answer]: End with the answer."
)
_CALL = re.compile(r"Action: ([\w./-]+)\[")


@dataclass(frozen=True)
class Settings:
    """What environments are made of.

    `documents` are texts, rows, or an index of them. `tools` are names: calculator, program,
    search, lookup, or dotted names of typed functions. Empty takes all that the rest of the
    settings allows. `embedding_model` adds vectors to the index of `documents`; `call_reward` is
    ReAct's. `mcp` are commands that start MCP servers: of their tools those run that `tools` names.
    `passages` and `min_coverage` are of rag, `verifies` of cot, `retries` of pal. `exemplars` is a
    file of conversations in place of those that ship, for cot, pal, react and calculator.

    Raises:
        ConfigError: a number is out of range.
    """

    documents: str | None = None
    tools: tuple[str, ...] = ()
    embedding_model: str | None = None
    passages: int = 5
    call_reward: float = 0.0
    sandbox: str = "confined"
    mcp: tuple[str, ...] = ()
    min_coverage: float = MIN_COVERAGE
    verifies: bool = False
    retries: int = 0
    exemplars: str | None = None

    def __post_init__(self) -> None:
        if self.passages < 1 or self.retries < 0 or not 0 <= self.min_coverage <= 1:
            raise ConfigError(
                f"expected at least one passage, no negative number of retries, and a min_coverage "
                f"of 0 to 1; got {self.passages}, {self.retries} and {self.min_coverage}"
            )

    @functools.cached_property
    def index(self) -> Index:
        """Of the documents, as `index_of` opens it; one for all that is made of these settings."""
        return index_of(self)


def environment_factory(name: str, settings: Settings | None = None) -> EnvironmentFactory:
    """An environment's factory.

    Args:
        name: conversation, cot, pal, react, rag, calculator; or the dotted name of a function that
            takes the settings and returns a factory.
        settings: what it is made of.

    Raises:
        ConfigError: the name leads to nothing, or a setting is missing.
    """
    settings = settings or Settings()
    if name in NAMED:
        return NAMED[name](settings)
    if "." not in name and ":" not in name:
        raise ConfigError(f"no environment {describe_choice(name, list(NAMED))}")
    factory: EnvironmentFactory = load_dotted(name)(settings)
    return factory


def _conversation(_: Settings) -> EnvironmentFactory:
    return Conversation


def _cot(settings: Settings) -> EnvironmentFactory:
    known = load_exemplars("cot", settings.exemplars)
    return functools.partial(ChainOfThought, exemplars=known, verifies=settings.verifies)


def _pal(settings: Settings) -> EnvironmentFactory:
    known = load_exemplars("pal", settings.exemplars)
    return functools.partial(
        ProgramAided, _sandbox(settings), exemplars=known, retries=settings.retries
    )


def _rag(settings: Settings) -> EnvironmentFactory:
    return functools.partial(
        Retrieval, settings.index, count=settings.passages, min_coverage=settings.min_coverage
    )


def _calculator(settings: Settings) -> EnvironmentFactory:
    box = Toolbox([tool_of(calculator)])
    return functools.partial(
        ReAct,
        box,
        exemplars=load_exemplars("calculator", settings.exemplars) if settings.exemplars else (),
        instruction=CALCULATING,
        call_reward=settings.call_reward,
    )


def _react(settings: Settings) -> EnvironmentFactory:
    if settings.mcp and not settings.tools:
        offered = [tool.name for command in settings.mcp for tool in _mcp_tools(command)]
        raise ConfigError(f"name the tools that may run; the servers have: {', '.join(offered)}")
    names = settings.tools or (
        "calculator", "program", *(("search", "lookup") if settings.documents else ()),
    )  # fmt: skip
    shared = [_shared_tool(name, settings) for name in names if name not in ("search", "lookup")]
    index = settings.index if {"search", "lookup"} & set(names) else None
    # One that calls what may not run here would teach refused calls.
    known = [
        ex
        for ex in load_exemplars("react", settings.exemplars)
        if _called(ex) <= {*names, "finish"}
    ]

    def make() -> ReAct:
        searching = SearchTools(index).tools() if index is not None else []
        box = Toolbox([*shared, *(tool for tool in searching if tool.name in names)])
        return ReAct(box, exemplars=known, call_reward=settings.call_reward)

    return make


def _called(exemplar: Exemplar) -> set[str]:
    return {name for turn in exemplar for name in _CALL.findall(turn["content"])}


NAMED: dict[str, Callable[[Settings], EnvironmentFactory]] = {
    "conversation": _conversation,
    "cot": _cot,
    "pal": _pal,
    "react": _react,
    "rag": _rag,
    "calculator": _calculator,
}


SPOKEN = frozenset({"conversation", "rag"})
"""Those whose one action is the answer, word for word."""


@functools.cache
def _mcp_tools(command: str) -> tuple[Tool, ...]:
    """Those of a server, which runs as long as this process."""
    server = McpServer(shlex.split(command))
    atexit.register(server.close)
    return tuple(server.tools())


def _shared_tool(name: str, settings: Settings) -> Tool:
    if name == "calculator":
        return tool_of(calculator)
    if name == "program":
        return program_tool(_sandbox(settings))
    offered = {tool.name: tool for command in settings.mcp for tool in _mcp_tools(command)}
    if name in offered:
        return offered[name]
    if offered and "." not in name and ":" not in name:
        raise ConfigError(f"no tool {describe_choice(name, ['calculator', 'program', *offered])}")
    found = load_dotted(name)
    return found if isinstance(found, Tool) else tool_of(found)


def _sandbox(settings: Settings) -> Sandbox:
    level = settings.sandbox.upper()
    if level not in Level.__members__:
        levels = [name.lower() for name in Level.__members__]
        raise ConfigError(f"no sandbox level {describe_choice(settings.sandbox, levels)}")
    return Sandbox(minimum=Level[level], limits=LIMITS, workers=os.cpu_count() or 1)


def index_of(settings: Settings) -> Index:
    """The index of the settings' documents; built where it is not there yet.

    Unless the documents are an index, it lies in the user's cache, under a name that changes with
    the texts and the embedding; where that cannot be written, it is made for this process.

    Raises:
        ConfigError: no documents are named.
        DataError: they cannot be read, or are an index of another embedding.
    """
    if settings.documents is None:
        raise ConfigError("this needs documents to search: give a folder, or a file of rows")
    embedder = embedder_of(settings.embedding_model)
    if is_index(settings.documents):
        return Index(settings.documents, embedder)
    passages = passages_of(load_documents(settings.documents))
    name = f"{fingerprint(passages, embedder)[:24]}.index"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accord"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            build_index(folder / name, passages, embedder)
        return Index(folder / name, embedder)
    except (OSError, sqlite3.OperationalError):  # no cache can be written here
        with tempfile.TemporaryDirectory() as elsewhere:
            build_index(Path(elsewhere) / name, passages, embedder)
            return Index(Path(elsewhere) / name, embedder)


def embedder_of(model: str | None) -> Embedder | None:
    """By a model of sentences, or a language model's own states; None searches words alone."""
    if model is None:
        return None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = SentenceModel if is_sentence_model(model) else PooledStates
    return kind(model, device=device)
