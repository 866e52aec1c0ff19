"""Several policies at once: names, aliases with shares, shadows, swaps and rollbacks.

An alias sends each user to one of its arms by a hash, so that he meets the same one every time, and
few users change sides when the shares do. A swap loads another model under a name that is served:
who has asked is answered by the old weights, who asks from then on by the new.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accord.core.errors import ConfigError, describe_choice
from accord.serving.apps import App
from accord.serving.refusals import ApiError
from accord.serving.scheduler import Scheduler
from accord.serving.served import Served, ServedReward

Load = Callable[[str, str], Served]
"""From a name and a model's directory."""


@dataclass(frozen=True)
class Alias:
    """A name that stands for others; `shadow` answers too, and nobody sees it.

    `arms` are names with shares, which add up to 1.
    """

    arms: tuple[tuple[str, float], ...]
    shadow: str | None = None

    @classmethod
    def of(cls, shares: Mapping[str, float], shadow: str | None = None) -> "Alias":
        """With shares in any unit.

        Raises:
            ConfigError: there are none, or one is not positive.
        """
        total = sum(shares.values())
        if not shares or not all(0 < share < float("inf") for share in shares.values()):
            raise ConfigError(f"an alias has arms with positive shares, got {dict(shares)}")
        return cls(tuple((name, share / total) for name, share in shares.items()), shadow)


@dataclass(frozen=True)
class Chosen:
    """Who answers: the model, the name of its arm, and what it acts in.

    There is no shadow beside an app, whose tools would run twice.
    """

    served: Served
    arm: str
    shadow: Served | None = None
    app: App | None = None


class Policies:
    """What is served. Used in the event loop only.

    Args:
        models: policies by name.
        rewards: reward models by name.
        aliases: by name.
        load: for swaps; in another thread.
        apps: what NAME+APP lets each model, and each alias, act in.

    Raises:
        ConfigError: an alias names what is not there, or has a model's name.
    """

    def __init__(
        self,
        models: Mapping[str, Served],
        rewards: Mapping[str, ServedReward],
        aliases: Mapping[str, Alias],
        load: Load,
        apps: Sequence[App] = (),
    ) -> None:
        self.models = dict(models)
        self.rewards = dict(rewards)
        self.apps = {app.name: app for app in apps}
        self.aliases: dict[str, Alias] = {}
        self._load = load
        self._before: dict[str, Served] = {}
        self._swaps = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        self._asked: Counter[Scheduler] = Counter()
        self._is_free = asyncio.Event()
        for name, alias in aliases.items():
            self.set_alias(name, alias)

    def choose(self, name: str, user: str) -> Chosen:
        """Who answers a user who asks for a name.

        Raises:
            ApiError: 404, nobody has that name.
        """
        if not self._is_policy(name):
            base, _, app = name.rpartition("+")
            if app in self.apps and self._is_policy(base):
                chosen = self.choose(base, user)
                return Chosen(chosen.served, f"{chosen.arm}+{app}", app=self.apps[app])
        alias = self.aliases.get(name)
        if alias is None:
            return Chosen(self._model(name), name)
        arm = pick(alias.arms, f"{name}\n{user}")
        shadow = self.models.get(alias.shadow) if alias.shadow else None
        return Chosen(self._model(arm), arm, shadow)

    @property
    def names(self) -> list[str]:
        """All that `choose` knows."""
        alone = [*self.models, *self.aliases]
        return alone + [f"{name}+{app}" for name in alone for app in self.apps]

    def _is_policy(self, name: str) -> bool:
        return name in self.models or name in self.aliases

    def reward(self, name: str) -> ServedReward:
        """The reward model of a name.

        Raises:
            ApiError: 404, there is none.
        """
        if name not in self.rewards:
            raise _not_found(name, list(self.rewards))
        return self.rewards[name]

    def set_alias(self, name: str, alias: Alias) -> None:
        """Let a name stand for others from now on.

        Raises:
            ConfigError: an arm is not served, or the name is a model's.
        """
        if name in {*self.names, *self.rewards} - set(self.aliases):
            raise ConfigError(f"alias {name!r} is a model's or an app's name already")
        wanted = [arm for arm, _ in alias.arms] + ([alias.shadow] if alias.shadow else [])
        for arm in wanted:
            if arm not in self.models:
                raise ConfigError(f"alias {name}: no model {describe_choice(arm, [*self.models])}")
        self.aliases[name] = alias

    async def swap(self, name: str, model: str, *, may_be_new: bool = False) -> Served:
        """Load another model under a name; the one before it stays loaded, for `rollback`.

        Raises:
            ApiError: no policy has that name, and it may not be new.
            ConfigError: an alias or a reward model has it.
            AccordError: the model cannot be loaded; nothing has changed.
        """
        async with self._swaps:
            if not may_be_new:
                self._model(name)
            elif name in self.aliases or name in self.rewards:
                raise ConfigError(f"{name!r} is no policy's name, but an alias's or a reward's")
            found = await asyncio.to_thread(self._load, name, model)
            self._replace(name, found)
            return found

    async def rollback(self, name: str, *, to: str | None = None) -> Served:
        """Back to what was served before the last swap, if that is the version `to`.

        Raises:
            ApiError: there was none.
        """
        async with self._swaps:
            before = self._before.get(name)
            if before is None or to not in (None, before.version):
                raise ApiError(409, f"{name}: nothing was swapped, or the swap was undone already")
            left, self.models[name] = self.models[name], before
            del self._before[name]
            self._end(left)
            return before

    def versions(self, name: str) -> tuple[str | None, str | None]:
        """Of a name: the version that answers, and the one that a rollback would bring back."""
        both = self.models.get(name), self._before.get(name)
        now, before = (served.version if served else None for served in both)
        return now, before

    async def stop(self) -> None:
        """Finish what is under way, and unload everything."""
        for scheduler in {s.scheduler for s in [*self.models.values(), *self._before.values()]}:
            self._stop(scheduler)
        for reward in self.rewards.values():
            reward.threads.shutdown(wait=False)
        await asyncio.gather(*self._ending)

    def shown(self) -> dict[str, Any]:
        """For whoever manages this."""
        return {
            "models": {
                name: {
                    "version": served.version,
                    "under_way": served.under_way,
                    "before": self._before[name].version if name in self._before else None,
                }
                for name, served in self.models.items()
            },
            "rewards": {name: reward.version for name, reward in self.rewards.items()},
            "apps": list(self.apps),
            "aliases": {
                name: {"arms": dict(alias.arms), "shadow": alias.shadow}
                for name, alias in self.aliases.items()
            },
        }

    def _model(self, name: str) -> Served:
        if name not in self.models:
            raise _not_found(name, self.names)
        return self.models[name]

    def _replace(self, name: str, found: Served) -> None:
        older = self._before.pop(name, None)
        if older is not None:
            self._end(older)
        if name in self.models:
            self._before[name] = self.models[name]
        self.models[name] = found

    def _end(self, left: Served) -> None:
        """Unload what has no name any more, unless another name runs on the same weights."""
        named = [*self.models.values(), *self._before.values()]
        if all(served.scheduler is not left.scheduler for served in named):
            self._stop(left.scheduler)

    @contextlib.contextmanager
    def kept(self, served: Served) -> Iterator[None]:
        """Who was chosen is not unloaded before this ends: guards may read long before he works."""
        self._asked[served.scheduler] += 1
        try:
            yield
        finally:
            self._asked[served.scheduler] -= 1
            if not self._asked[served.scheduler]:
                del self._asked[served.scheduler]
                self._is_free.set()

    def _stop(self, scheduler: Scheduler) -> None:
        task = asyncio.create_task(self._stopped(scheduler))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _stopped(self, scheduler: Scheduler) -> None:
        while self._asked[scheduler]:
            self._is_free.clear()
            await self._is_free.wait()
        await scheduler.stop()


def pick(arms: tuple[tuple[str, float], ...], key: str) -> str:
    """The arm of a key: always the same for equal shares, and each by its share of keys."""
    place = (
        int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "big") / 2**64
    )
    for arm, share in arms:
        place -= share
        if place < 0:
            return arm
    return arms[-1][0]


def _not_found(name: str, known: list[str]) -> ApiError:
    message = f"the model {name!r} does not exist; known: {', '.join(sorted(known)) or 'none'}"
    return ApiError(404, message, code="model_not_found", param="model")
