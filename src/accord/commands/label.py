"""accord label: the annotation app, from one command and one file."""

import argparse
import contextlib
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console

from accord.commands.listening import is_loopback, listening, server_of, url_of
from accord.commands.red_teaming import add_red_team_options, red_team_desk
from accord.commands.simulation import add_options, simulate
from accord.core.errors import ConfigError, ConflictError, NotFoundError
from accord.core.types import TaskKind

if TYPE_CHECKING:
    from accord.store.database import Database

LEAD = "lead"


def label(arguments: list[str]) -> int:
    """Serve the annotation app over one SQLite file (or ACCORD_DATABASE_URL)."""
    options = _parser().parse_args(arguments)
    from accord.store.database import Database

    console = Console(soft_wrap=True, highlight=False)
    database = Database.open(path=options.database)
    try:
        if options.tasks is not None:
            _put_up(database, options, console)
        if options.show:
            _show_opinions(database, options)
        with listening(options.host, options.port) as listener:
            if options.simulate is not None:
                return simulate(database, listener, options, console)
            url = options.public_url or url_of(options.host, listener)
            server = _server(database, options)  # first: who follows a link at once shall not wait
            _print_links(database, url, options.add_annotator, console)
            if not _is_private(url, listener):
                console.print(
                    "note: without https others on the network can read passwords; put a proxy "
                    "before this server, and name its address by --public_url"
                )
            console.print("Ctrl-C stops; everything that was acknowledged is stored")
            server.run(sockets=[listener])
            console.print("stopped")
            return 130 if server.stopped_by == signal.SIGINT else 0
    finally:
        database.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="accord label", description=label.__doc__)
    parser.add_argument(
        "--database",
        type=Path,
        default=Path("accord.db"),
        help="SQLite file, made if it is not there; ACCORD_DATABASE_URL goes over it",
    )
    parser.add_argument("--tasks", help="rows to put up first: JSONL, Parquet, a datasets name")
    parser.add_argument("--project", help="the project of --tasks, made if it is not there")
    parser.add_argument("--kind", choices=get_args(TaskKind), default="pairwise")
    parser.add_argument("--overlap", type=int, default=3, help="annotators a task")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8787, help="0 takes any free one")
    parser.add_argument(
        "--public_url", metavar="URL", help="the address people use, if a proxy stands before"
    )
    parser.add_argument(
        "--add_annotator",
        action="append",
        default=[],
        metavar="NAME",
        help="print an invitation for this annotator (repeatable)",
    )
    parser.add_argument(
        "--show",
        nargs="+",
        choices=["suggestions", "critiques"],
        default=[],
        help="show models' opinions of the tasks of --project from now on, but for a fifth of them",
    )
    add_red_team_options(parser)
    add_options(parser)
    return parser


def _put_up(database: "Database", options: argparse.Namespace, console: Console) -> None:
    from accord.corpora.readers import read_rows
    from accord.store.projects import SqlProjects
    from accord.store.queue import SqlTaskQueue
    from accord.store.rows import tasks_of_rows

    if not options.project:
        raise ConfigError("--tasks needs --project NAME: the project that they belong to")
    if options.overlap < 1:
        raise ConfigError(f"--overlap must be at least 1, got {options.overlap}")
    tasks = tasks_of_rows(
        read_rows(options.tasks),
        project=options.project,
        kind=options.kind,
        overlap=options.overlap,
        where=options.tasks,
    )
    with contextlib.suppress(ConflictError):  # it is there already
        SqlProjects(database).create(options.project)
    added = SqlTaskQueue(database).add(tasks)
    console.print(f"{options.project}: {added} new tasks, {len(tasks) - added} known", markup=False)


def _show_opinions(database: "Database", options: argparse.Namespace) -> None:
    from accord.store.projects import SqlProjects

    if not options.project:
        raise ConfigError("--show needs --project NAME: the project in which they are shown")
    projects = SqlProjects(database)
    settings = projects.get(options.project).settings
    shown = {f"show_{what}": True for what in options.show}
    projects.update(options.project, settings={**settings, **shown})


def _print_links(database: "Database", url: str, new: list[str], console: Console) -> None:
    from accord.store.access import SqlAccess
    from accord.store.accounts import SqlAccounts

    accounts, access = SqlAccounts(database), SqlAccess(database)
    if not any(account.role == "lead" for account in accounts.all()):
        accounts.create(LEAD, "lead")
    first = next(a for a in accounts.all() if a.role == "lead" and a.is_active)
    link = f"{url}/join/{access.invite(first.name, sets_password=False)}"
    console.print(f"sign in as {first.name}, once: {link}", markup=False)
    for name in new:
        try:
            accounts.get(name)
        except NotFoundError:
            accounts.create(name, "annotator")
        link = f"{url}/join/{access.invite(name, sets_password=True)}"
        console.print(f"invitation for {name}: {link}", markup=False)


def _is_private(url: str, listener: socket.socket) -> bool:
    """Whether nobody can listen in on the way to the server."""
    return is_loopback(listener) or url.startswith("https:")


def _server(database: "Database", options: argparse.Namespace) -> Any:
    """What serves until a signal comes, and then knows which one (`stopped_by`)."""
    import uvicorn

    from accord.web.app import build_app

    return server_of(
        uvicorn.Config(
            build_app(
                database,
                public_url=options.public_url,
                red_team=red_team_desk(database, options),
            ),
            # Addresses of pages hold invitations: no log of requests.
            access_log=False,
            log_level="warning",
            # Who stands before us is believed only where somebody said that one does.
            proxy_headers=options.public_url is not None,
            server_header=False,
            timeout_keep_alive=75,  # longer than somebody thinks about a task
            timeout_graceful_shutdown=5,
        )
    )
