"""accord serve: models behind OpenAI's protocol."""

import argparse
import functools
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from accord.commands.apps import APPS, add_app_options, settings_of
from accord.commands.listening import is_loopback, listening, server_of, url_of
from accord.commands.serve_names import aliases_of, deployed, named_models
from accord.core.errors import ConfigError

if TYPE_CHECKING:
    from accord.serving.apps import App


def serve(arguments: list[str]) -> int:
    """Serve policies and reward models to OpenAI's clients."""
    options = _parser().parse_args(arguments)
    options.models += deployed(options.aliases) if options.aliases else []
    console = Console(soft_wrap=True, highlight=False)
    if options.new_key is not None:
        return _make_key(options, console)
    if not options.models:
        raise ConfigError("nothing to serve: accord serve [NAME=]MODEL ...")
    if options.default_max_tokens < 1:
        raise ConfigError("--default_max_tokens: expected at least 1")
    if options.prefix_cache_mb < 0:
        raise ConfigError(f"--prefix_cache_mb {options.prefix_cache_mb}: expected 0 (none) or more")
    from accord.serving.following import Follower, follow
    from accord.serving.keys import Keys

    keys = Keys.read(options.keys, os.environ)
    if options.keys and not keys:
        raise ConfigError(f"{options.keys}: holds no key, so everybody could use this server")
    named = named_models(options.models)
    with listening(options.host, options.port) as listener:
        if not keys and not is_loopback(listener):
            raise ConfigError(
                f"on {options.host} anybody who reaches it could use this server: make a key "
                "(--new_key NAME --keys FILE, or ACCORD_API_KEY), or listen on 127.0.0.1"
            )
        app = _app(options, named, keys)
        if options.aliases:
            services = app.state.services
            follow(app, Follower(options.aliases, services.policies, services.metrics))
        for name in named:
            apps = "".join(f", {name}+{app}" for app in app.state.services.policies.apps)
            console.print(f"{name}{apps}: {url_of(options.host, listener)}/v1", markup=False)
        if options.chat_page:
            console.print(f"chat page: {url_of(options.host, listener)}/", markup=False)
        _log_to_stderr()
        server = _server(app, options)
        server.run(sockets=[listener])
    console.print("stopped")
    return 130 if server.stopped_by == signal.SIGINT else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="accord serve", description=serve.__doc__)
    add = parser.add_argument
    add("models", nargs="*", metavar="[NAME=]MODEL", help="policies and reward models")
    add("--aliases", type=Path, metavar="FILE",
        help="serve what the aliases of accord deploy lead to, and follow the file")  # fmt: skip
    add("--engine", choices=["local", "vllm"], default="local", help="what samples")
    add("--host", default="127.0.0.1", help="others need a key")
    add("--port", type=int, default=8000, help="0 takes any free one")
    add("--alias", action="append", default=[], metavar="NAME=A:0.9,B:0.1",
        help="a name for one or several of the models, by share of users (repeatable)")  # fmt: skip
    add("--shadow", action="append", default=[], metavar="ALIAS=MODEL",
        help="a model that answers what an alias is asked, too, for the log alone")  # fmt: skip
    add("--app", action="append", default=[], metavar="APP",
        help=f"answer as NAME+APP, too, by an episode in {', '.join(APPS)}, or the dotted name of "
        "an environment's function (repeatable)")  # fmt: skip
    add("--samples", type=int, default=1,
        help="episodes that vote on an answer, in apps but rag and conversation")  # fmt: skip
    add("--keys", type=Path, help="file of keys' hashes; ACCORD_API_KEY, ACCORD_ADMIN_KEY add one")
    add("--new_key", metavar="NAME", help="make a key, add it to --keys, and end")
    add("--admin", action="store_true", help="the new key may change what is served")
    add("--max_batch_size", type=int, default=64, help="responses that are sampled together")
    add("--prefix_cache_mb", type=int, default=256,
        help="MiB that keep what was read for prompts that begin alike; 0: none")  # fmt: skip
    add("--cache_mb", type=int,
        help="MiB for what each model reads and says at a time; half of what is free (vllm: 1024)",
    )  # fmt: skip
    add("--default_max_tokens", type=int, default=4096,
        help="most tokens of an answer in a chat where the client names none")  # fmt: skip
    add("--queue", type=int, default=256, help="requests under way, beyond which is 429")
    add("--requests_per_minute", type=int, default=6000, help="of one key")
    add("--max_bytes", type=int, default=2**22, help="of a request's body")
    add("--allow_origin", action="append", default=[], metavar="ORIGIN",
        help="a web site whose scripts may call this server (repeatable)")  # fmt: skip
    add("--guard", action="append", default=[], metavar="CLASSIFIER:LABEL:THRESHOLD[:input|output]",
        help="refuse texts of which a classifier of ours says so (repeatable)")  # fmt: skip
    add("--feedback", metavar="DATABASE", help="keep thumbs, edits and votes in this store")
    add("--project", default="feedback", help="the store's project for --feedback")
    add("--retention_days", type=float, metavar="N",
        help="erase what users said longer ago in --feedback, at the start and daily")  # fmt: skip
    add("--chat_page", action="store_true", help="a page at / on which people chat, vote and edit")
    add("--remember_h", type=float, default=24.0, help="hours in which a response can be judged")
    add("--bf16", action="store_true", help="weights in bfloat16")
    add("--drain_s", type=float, default=30.0, help="for what is under way, after SIGTERM")
    add_app_options(parser)
    return parser


def _make_key(options: argparse.Namespace, console: Console) -> int:
    from accord.serving.keys import Keys, new_key

    if options.keys is None:
        raise ConfigError("--new_key needs --keys FILE: where its hash is kept")
    key, line = new_key(options.new_key, is_admin=options.admin)
    if options.keys.exists():
        Keys.read(options.keys, {})  # nothing is added to what is no file of keys
    descriptor = os.open(options.keys, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    console.print(f"{key}\nshown once; {options.keys} has its hash", markup=False)
    return 0


def _app(options: argparse.Namespace, named: Mapping[str, str], keys: Any) -> Any:
    import torch

    from accord.core.assets import resolve_asset
    from accord.serving.app import build_app
    from accord.serving.guards import load_guards
    from accord.serving.loading import is_reward, load_policies, load_reward
    from accord.serving.metrics import server_metrics
    from accord.serving.policies import Policies
    from accord.wiring import engine_factory

    metrics = server_metrics()
    load = functools.partial(
        load_policies,
        engine_factory=engine_factory(
            options.engine,
            prefix_cache_mb=options.prefix_cache_mb,
            cache_mb=_cache_mb(options),
            for_clients=True,
        ),
        metrics=metrics,
        max_batch_size=options.max_batch_size,
        most_waiting=options.queue,
        default_max_tokens=options.default_max_tokens,
        dtype=torch.bfloat16 if options.bf16 else torch.float32,
        shares_bases=options.engine == "local",
    )
    paths = {name: resolve_asset(model) for name, model in named.items()}
    rewards = {name for name, path in paths.items() if is_reward(path)}
    apps = _apps(options, [path for name, path in paths.items() if name not in rewards])
    policies = Policies(
        load({name: path for name, path in paths.items() if name not in rewards}),
        {name: load_reward(name, paths[name]) for name in rewards},
        aliases_of(options.alias, options.shadow),
        lambda name, model: load({name: resolve_asset(model)})[name],
        apps,
    )
    return build_app(
        policies,
        metrics,
        keys=keys,
        feedback=_feedback(options),
        has_chat_page=options.chat_page,
        guards=load_guards(options.guard),
        requests_per_minute=options.requests_per_minute,
        most_bytes=options.max_bytes,
        allowed_origins=options.allow_origin,
    )


def _cache_mb(options: argparse.Namespace) -> int | None:
    """A limit of what rows take as they grow; vLLM would take as much at its start."""
    from accord.core.machine import available_bytes

    named: int | None = options.cache_mb
    if named or options.engine == "vllm":
        return named
    free = available_bytes()
    return None if free is None else free // 2**21


def _apps(options: argparse.Namespace, policies: Sequence[str]) -> "list[App]":
    """Before any model is loaded: documents that cannot be read are told at once."""
    if options.samples > options.queue:
        raise ConfigError(
            f"--samples {options.samples}: more than --queue {options.queue} lets run"
        )
    if not options.app:
        names = ("documents", "tool", "mcp", "dense", "embedding", "exemplars")
        if given := [f"--{name}" for name in names if getattr(options, name)]:
            raise ConfigError(f"{given[0]} is an app's; name it: --app")
        if options.samples > 1:
            raise ConfigError("--samples are an app's; name it: --app")
        return []
    from accord.environments.named import SPOKEN, environment_factory
    from accord.serving.apps import App

    if options.samples > 1 and set(options.app) <= SPOKEN:
        raise ConfigError("--samples: there is no vote on the words of rag and conversation")
    if not policies:
        raise ConfigError(f"--app {options.app[0]}: no policy is served that could act in it")

    settings = settings_of(options, policies[0])
    return [
        App(
            name,
            environment_factory(name, settings),
            is_spoken=name in SPOKEN,
            max_turns=options.max_turns,
            max_action_tokens=options.max_new_tokens,
            samples=1 if name in SPOKEN else options.samples,
        )
        for name in dict.fromkeys(options.app)
    ]


def _feedback(options: argparse.Namespace) -> Any:
    from accord.serving.feedback import Feedback
    from accord.store.source import StoredPreferences

    days = options.retention_days
    if days is not None and (options.feedback is None or not days > 0):
        raise ConfigError("--retention_days is a number of days above 0, and is for --feedback")
    if options.feedback is None:
        return None
    store = StoredPreferences(options.project, options.feedback, may_be_new=True)
    store.state()  # a database that cannot be opened is an error now
    return Feedback(store, keep_s=3600 * options.remember_h, retention_days=days)


def _log_to_stderr() -> None:
    """A line of JSON a request."""
    log = logging.getLogger("accord.serving")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        told = json.loads(message) if message.startswith("{") else {"message": message}
        line = {"at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), **told}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _server(app: Any, options: argparse.Namespace) -> Any:
    import uvicorn

    def drain() -> None:
        app.state.services.is_draining = True

    return server_of(
        uvicorn.Config(
            app,
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=options.drain_s,
        ),
        when_asked_to_stop=drain,
    )
