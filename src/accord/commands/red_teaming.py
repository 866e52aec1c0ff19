"""accord label --red_team: the model that people chat with, and what scores its replies."""

import argparse
from typing import TYPE_CHECKING

from accord.core.errors import ConfigError

if TYPE_CHECKING:
    from accord.store.database import Database
    from accord.web.red_team_desk import RedTeamDesk


def add_red_team_options(parser: argparse.ArgumentParser) -> None:
    """Flags of the red-teamers' chat page."""
    group = parser.add_argument_group("a chat page for red-teamers")
    group.add_argument(
        "--red_team", metavar="PROJECT", help="where rated chats go; made if it is not there"
    )
    group.add_argument("--target", metavar="MODEL", help="a policy that is here")
    group.add_argument("--target_url", metavar="URL", help="or an OpenAI-compatible endpoint")
    group.add_argument("--target_name", metavar="NAME", help="the model's name there")
    group.add_argument(
        "--target_key_variable", metavar="NAME", help="environment variable with its key"
    )
    group.add_argument(
        "--target_scorer",
        action="append",
        default=[],
        metavar="NAME",
        help="scores replies beside people: not_refused (unless told), or a function's dotted name",
    )


def red_team_desk(database: "Database", options: argparse.Namespace) -> "RedTeamDesk | None":
    """The desk that the flags ask for.

    Raises:
        ConfigError: there is not one target, or a scorer that needs more than its name.
    """
    if options.red_team is None:
        if options.target or options.target_url:
            raise ConfigError("--target is for --red_team PROJECT: name the project of the chats")
        return None
    if bool(options.target) == bool(options.target_url):
        raise ConfigError("--red_team: name one model, by --target or --target_url")
    if bool(options.target_url) != bool(options.target_name):
        raise ConfigError("--target_url and --target_name belong together")
    names = options.target_scorer or ["not_refused"]
    if {"rubric", "classifier"} & set(names):
        raise ConfigError("--target_scorer: not_refused, or dotted names of functions")
    import contextlib
    from pathlib import Path

    from accord.core.errors import ConflictError
    from accord.core.judge_config import JudgeConfig
    from accord.judges.clients import client_of
    from accord.red_team.behaviours import Behaviour
    from accord.red_team.named_scorers import NamedScorers
    from accord.store.projects import SqlProjects
    from accord.web.red_team_desk import RedTeamDesk
    from accord.wiring import engine_factory

    scorers = NamedScorers(tuple(names), JudgeConfig()).load(Path())
    target = client_of(
        options.target,
        engine_factory("local"),
        url=options.target_url,
        name=options.target_name,
        key_variable=options.target_key_variable,
    )
    with contextlib.suppress(ConflictError):  # it is there already
        SqlProjects(database).create(options.red_team)

    def score(wanted: str, reply: str) -> dict[str, float]:
        behaviour = Behaviour("chat", wanted)
        return {scorer.name: scorer.score([behaviour], [reply])[0] for scorer in scorers}

    return RedTeamDesk(target, options.red_team, score=score)
