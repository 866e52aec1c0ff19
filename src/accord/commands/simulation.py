"""accord label --simulate: the real app, and annotators made of code at its door."""

import argparse
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from accord.core.errors import AccordError, ConfigError

if TYPE_CHECKING:
    from accord.store.database import Database


_INFLUENCE = {
    "anchoring": "probability of giving a suggested answer unread, where --show suggestions",
    "heeds_right": "probability of going over to a critique that is right, where --show critiques",
    "heeds_wrong": "and to one that is wrong; by the task's column gold, or one's own opinion",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `accord label` has for it."""
    group = parser.add_argument_group("simulation")
    group.add_argument(
        "--simulate",
        metavar="DOTTED",
        help="let annotators made of code judge all pairs of --project over HTTP, and end; "
        "such as accord.corpora.sample_set:ANNOTATORS",
    )
    group.add_argument("--crowd", type=int, metavar="N", help="N people who have their opinions")
    group.add_argument(
        "--bad_share", type=float, default=0.0, help="share of bad ones in the crowd"
    )
    group.add_argument("--fatigue", type=float, default=0.0, help="per judgement done, see Crowd")
    for name, what in _INFLUENCE.items():
        group.add_argument(f"--{name}", type=float, default=0.0, metavar="P", help=what)
    group.add_argument("--seed", type=int, default=0)


def simulate(
    database: "Database", listener: socket.socket, options: argparse.Namespace, console: Console
) -> int:
    """Serve, let the crowd judge what there is, and stop."""
    import numpy as np

    from accord.annotation.simulation import Crowd, crowd_with_bad_ones
    from accord.judges.named import named_annotators
    from accord.store.access import SqlAccess
    from accord.store.accounts import SqlAccounts
    from accord.store.board import all_tasks
    from accord.store.queue import SqlTaskQueue
    from accord.web.client import Client
    from accord.web.simulation import Influence, SimulatedWorker, work_in_turn

    if not options.project:
        raise ConfigError("--simulate needs --project NAME: the project that is to be judged")
    influence = Influence(**{name: getattr(options, name) for name in _INFLUENCE})
    opinions = named_annotators(options.simulate, seed=options.seed)
    if options.crowd is None:  # those of the list themselves, who err as they please
        nothing = np.zeros(len(opinions))
        crowd = Crowd(nothing, nothing, nothing, np.zeros(len(opinions), dtype=np.int64))
    else:
        crowd = crowd_with_bad_ones(
            options.crowd, bad_share=options.bad_share, seed=options.seed, fatigue=options.fatigue
        )
    tasks = {task.id: task for task in all_tasks(database, options.project)}
    others = sorted({task.kind for task in tasks.values()} - {"pairwise"})
    if others:
        raise ConfigError(f"--simulate judges pairs; {options.project!r} has {', '.join(others)}")
    accounts, access = SqlAccounts(database), SqlAccess(database)
    host, port = listener.getsockname()[:2]
    workers = []
    with _serving(database, listener):
        for place in range(len(crowd)):
            opinion = opinions[place % len(opinions)]
            name = opinion.name if options.crowd is None else f"simulated-{place:03d}"
            with contextlib.suppress(AccordError):  # there since an earlier run
                accounts.create(name, "annotator", kind="simulated")
            _, token = access.issue_token(
                name, "simulation", ["read", "annotate"], expires_in_s=86_400.0
            )
            rng = np.random.default_rng([options.seed, place])
            client = Client(f"http://{host}:{port}", token)
            workers.append(SimulatedWorker(client, opinion, crowd, place, rng, influence))
        judged = work_in_turn(workers, options.project, tasks)
    progress = SqlTaskQueue(database).progress(options.project)
    console.print(
        f"{judged} judgements by {len(workers)} simulated annotators; {progress['done']} of "
        f"{progress['slots']} slots of {progress['tasks']} pairs are filled",
        markup=False,
    )
    return 0


@contextlib.contextmanager
def _serving(database: "Database", listener: socket.socket) -> Iterator[None]:
    """The app as it always is, but for the limit that keeps people from asking too often."""
    import uvicorn

    from accord.web.app import build_app

    app = build_app(database, requests_per_minute=10**9)
    config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
