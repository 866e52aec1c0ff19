"""Follows a file of aliases: what it names anew is loaded beside the old and then answers.

The file is read again and again, since it may lie on another machine's disk, where nothing tells of
a change. Whatever is wrong with it or with a model that it names, what is served stays served.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI

from accord.core.errors import AccordError
from accord.promotion.aliases import DIGITS, Deployment, checked_model, read_aliases
from accord.serving.metrics import Metrics
from accord.serving.policies import Policies
from accord.serving.records import LOG

_RETRY_S = 10.0
"""After a model could not be loaded, doubled each time: a folder that is being copied has its file
of aliases before its models, and to read a large model in vain takes long.
"""
_LONGEST_RETRY_S = 300.0


class _Failed(NamedTuple):
    deployment: Deployment
    wait_s: float
    until: float


class Follower:
    """Keeps the names of `Policies` at what a file says.

    Args:
        path: of the file.
        policies: serve what it says, or will.
        metrics: of `server_metrics`.
        every_s: seconds between two readings.
    """

    def __init__(
        self, path: Path, policies: Policies, metrics: Metrics, *, every_s: float = 2.0
    ) -> None:
        self.path = path
        self.every_s = every_s
        self._policies = policies
        self._metrics = metrics
        self._known: dict[str, Deployment] = {}
        self._failed: dict[str, _Failed] = {}
        self._complaint = ""
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Follow until `stop`; a model that is being loaded then is loaded first."""
        while not self._stopped.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), self.every_s)

    def stop(self) -> None:
        """Let `run` end."""
        self._stopped.set()

    async def look(self) -> None:
        """Read the file once, and do what it says."""
        try:
            said = await asyncio.to_thread(read_aliases, self.path)
        except AccordError as error:
            self._complain(str(error))
            return
        self._complaint = ""
        for name, pointer in said.items():
            if self._known.get(name) != pointer.serves and self._may_try(name, pointer.serves):
                await self._follow(name, pointer.serves)

    def _may_try(self, name: str, deployment: Deployment) -> bool:
        failed = self._failed.get(name)
        return not failed or failed.deployment != deployment or _now() >= failed.until

    async def _follow(self, name: str, deployment: Deployment) -> None:
        wanted = deployment.sha256[:DIGITS]
        now, _ = self._policies.versions(name)
        try:
            if wanted != now:
                await self._turn(name, deployment)
                LOG.info(json.dumps({"alias": name, "version": wanted, "was": now}))
                self._count(name, "done")
        except Exception as error:  # whatever a broken model raises, the others are served on
            LOG.error(json.dumps({"alias": name, "version": wanted, "error": str(error)}))
            self._count(name, "failed")
            self._note_failure(name, deployment)
        else:
            self._known[name] = deployment
            self._failed.pop(name, None)

    def _count(self, name: str, outcome: str) -> None:
        self._metrics.add("accord_alias_changes_total", alias=name, outcome=outcome)

    def _note_failure(self, name: str, deployment: Deployment) -> None:
        last, wait_s = self._failed.get(name), _RETRY_S
        if last and last.deployment == deployment:
            wait_s = min(2 * last.wait_s, _LONGEST_RETRY_S)
        self._failed[name] = _Failed(deployment, wait_s, _now() + wait_s)

    async def _turn(self, name: str, deployment: Deployment) -> None:
        _, before = self._policies.versions(name)
        if deployment.sha256[:DIGITS] == before:
            await self._policies.rollback(name, to=before)
        else:
            model = await asyncio.to_thread(checked_model, self.path, deployment)
            await self._policies.swap(name, str(model), may_be_new=True)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            LOG.error(json.dumps({"aliases": str(self.path), "error": text}))
        self._complaint = text


def _now() -> float:
    return asyncio.get_running_loop().time()


def follow(app: FastAPI, follower: Follower) -> None:
    """Let an app follow for as long as it is up."""
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def while_up(running: FastAPI) -> AsyncIterator[Any]:
        async with inner(running) as state:
            following = asyncio.create_task(follower.run())
            try:
                yield state
            finally:
                follower.stop()
                await following

    app.router.lifespan_context = while_up
