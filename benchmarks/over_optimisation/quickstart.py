"""The quickstart's over-optimisation: by the best of n and by PPO, then with the brake.

Three proxies learn from the same comparisons of a run; each is optimised from its SFT policy, by
the best of n up to 1,024 and by PPO without a KL penalty. Gold is the rule scorer. All is measured
on prompts of a sample set of its own, whose words training never used. Then the same PPO runs with
the brake, whose policy is compared with every checkpoint of the run without, by gold and by a
second gold scorer that the brake never sees.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.over_optimisation.responses import (
    GOLDS,
    Pool,
    Sampler,
    draw_pools,
    fresh_rows,
    policy_figures,
    scorer_of,
)
from benchmarks.over_optimisation.runs import Proxy, Quickstart, Settings, proxies, train_ppo

from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.over_optimisation import (
    Curve,
    best_of_subset_kl,
    best_of_subset_weights,
    fit_curve,
)
from accord.core.device import default_device
from accord.core.files import write_json
from accord.models.loading import load_policy

Figures = Mapping[str, Mapping[str, Sequence[float]]]
"""By policy and figure, a number a prompt."""
HALVINGS = 200
"""Of the prompts, when the best checkpoint is chosen on one half and compared on the other."""


@dataclass(frozen=True)
class Track:
    """A proxy's way as it is optimised, (N,) each; gains are over the SFT policy."""

    kl: Any
    """nats, mean over prompts"""
    proxy: Any
    """gain in standard deviations of what the SFT policy's responses score"""
    gold: Any
    error: Any
    """standard error of gold's gain, over prompts"""
    at: Sequence[int]
    """n, or updates"""
    fit: Curve
    """of gold"""

    @property
    def explained(self) -> float:
        """R²: the share of gold's variance along the track that the fit explains."""
        left = self.gold - self.fit.gain(np.sqrt(self.kl))
        around = self.gold - self.gold.mean()
        return float(1 - left @ left / max(around @ around, 1e-300))


def draws(largest: int) -> list[int]:
    """n from 1 to the largest, half powers of 2."""
    return sorted({min(largest, round(2 ** (k / 2))) for k in range(2 * largest.bit_length())})


def follow_pools(name: str, pools: Sequence[Pool]) -> Track:
    """The best of n by a scorer; n draws of each prompt's pool, without replacement."""
    at = draws(int(pools[0].counts.sum()))
    kl, proxy, gold = (np.zeros((len(pools), len(at))) for _ in range(3))
    for place, pool in enumerate(pools):
        scores, truth = pool.scores[name], pool.scores["gold"]
        for column, n in enumerate(at):
            w = best_of_subset_weights(scores, pool.counts, n)
            kl[place, column] = best_of_subset_kl(scores, pool.counts, pool.logprobs, n)
            proxy[place, column], gold[place, column] = w @ scores, w @ truth
    everything = np.concatenate([np.repeat(p.scores[name], p.counts) for p in pools])
    return _track(kl, proxy / everything.std(), gold, at, "best_of_n")


def follow_policies(figures: Figures) -> Track:
    """PPO's checkpoints in turn; the first is the SFT policy."""
    kl, proxy, gold = (
        np.array([found[name] for found in figures.values()]).T
        for name in ("kl_nats", "proxy", "gold")
    )
    at = [int(name) for name in figures]
    return _track(kl, proxy / proxy[:, 0].std(), gold, at, "rl")


def _track(kl: Any, proxy: Any, gold: Any, at: Sequence[int], form: Any) -> Track:
    mean_kl = np.maximum(kl.mean(axis=0), 0.0)  # a sampled KL may come out below 0
    mean_kl[0] = 0.0
    gains = gold - gold[:, :1]
    error = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    mean_gain = gains.mean(axis=0)
    fit = fit_curve(np.sqrt(mean_kl), mean_gain, form=form)
    return Track(mean_kl, (proxy - proxy[:, :1]).mean(axis=0), mean_gain, error, at, fit)


def checkpoints(
    path: Path, settings: Settings
) -> dict[str, Callable[[], Mapping[str, torch.Tensor]]]:
    """How to load the policy of each evaluation of a PPO run, and of its end, by updates."""

    def from_state(step: int) -> Callable[[], Mapping[str, torch.Tensor]]:
        state = path / f"checkpoint-{step}/state.pt"
        return lambda: torch.load(state, weights_only=False)["modules"]["policy"]

    steps = range(settings.eval_steps, settings.updates, settings.eval_steps)
    return {str(s): from_state(s) for s in steps} | {
        str(settings.updates): saved(str(path / "model"))
    }


def saved(model: str) -> Callable[[], Mapping[str, torch.Tensor]]:
    """How to load the weights of a model's directory."""
    return lambda: load_policy(model, device=default_device()).state_dict()


@dataclass(frozen=True)
class Braked:
    """A braked run beside the one without, on fresh prompts."""

    seed: int
    stopped: int | None
    """update at which the brake was pulled, None where it was not"""
    back_to: int
    """update whose policy came back"""
    reasons: Sequence[str]
    start: Mapping[str, float]
    """mean of the SFT policy, by gold scorer; as are the others"""
    best: Mapping[str, tuple[int, float]]
    """the best checkpoint without a brake, by the scorer on these very prompts: its update, mean"""
    last: Mapping[str, float]
    """without a brake, at the end"""
    braked: Mapping[str, float]
    difference: Mapping[str, tuple[float, float, float]]
    """braked less best, paired by prompt: mean, and its 95% interval"""
    fair: Mapping[str, tuple[float, float, float]]
    """the same, where the best is chosen on other prompts than those that it is compared on"""


def compare(seed: int, path: Path, figures: Figures, braked: Figures) -> Braked:
    """What the brake kept of the best that could have been had."""
    names = list(figures)
    own = braked["braked"]
    means = {g: [float(np.mean(figures[name][g])) for name in names] for g in GOLDS}
    best = {g: int(np.argmax(values)) for g, values in means.items()}
    gaps = {g: np.array(own[g]) - np.array(figures[names[best[g]]][g]) for g in GOLDS}
    fair = {
        g: less_best_elsewhere(own[g], [figures[name][g] for name in names], seed=seed)
        for g in GOLDS
    }
    result = json.loads((path / "result.json").read_text("utf-8"))
    found = [json.loads(p.read_text("utf-8")) for p in path.glob("incident-*.json")]
    incident = found[0] if found else None
    return Braked(
        seed=seed,
        stopped=incident["step"] if incident else None,
        back_to=incident["back_to_step"] if incident else result["updates"],
        reasons=[reason.partition(":")[0] for reason in incident["reasons"]] if incident else [],
        start={g: values[0] for g, values in means.items()},
        best={g: (int(names[best[g]]), means[g][best[g]]) for g in GOLDS},
        last={g: values[-1] for g, values in means.items()},
        braked={g: float(np.mean(own[g])) for g in GOLDS},
        difference={g: _with_interval(gap) for g, gap in gaps.items()},
        fair={g: _with_interval(gap) for g, gap in fair.items()},
    )


def less_best_elsewhere(
    own: Sequence[float], checkpoints: Sequence[Sequence[float]], *, seed: int
) -> Any:
    """(N,) a policy's score less that of the best checkpoint, chosen on the half of the prompts in
    which this one is not; the mean over many ways to halve them.

    Of checkpoints that are alike, the best in hindsight on the same prompts seems better than it
    is.

    Args:
        own: (N,) by prompt.
        checkpoints: (C, N).
    """
    scores, rng = np.array(checkpoints), np.random.default_rng(seed)
    found = np.zeros(scores.shape[1])
    for _ in range(HALVINGS):
        order = rng.permutation(len(found))
        halves = np.array_split(order, 2)
        for chosen_on, compared_on in (halves, halves[::-1]):
            best = scores[:, chosen_on].mean(axis=1).argmax()
            found[compared_on] += np.array(own)[compared_on] - scores[best, compared_on]
    return found / HALVINGS


def _with_interval(gap: Any) -> tuple[float, float, float]:
    low, high = cluster_bootstrap(gap, range(len(gap)), seed=0)
    return float(gap.mean()), low, high


def run_brake(quickstart: Quickstart, output: Path, settings: Settings) -> tuple[Braked, Figures]:
    """PPO on the run's own reward without and with the brake, and the figures of the first."""
    naive = Proxy("naive", {"reward_model_name_or_path": [str(quickstart.path / "reward/model")]})
    rows = fresh_rows(quickstart, settings.fresh)
    free = train_ppo(quickstart, naive, output / "ppo-naive", settings, has_brake=False)
    path = train_ppo(quickstart, naive, output / "ppo-braked", settings, has_brake=True)
    sampler = Sampler(quickstart)
    ask = scorer_of(naive, sampler.encoder)
    steps = {"0": saved(quickstart.policy)} | checkpoints(free, settings)
    figures = policy_figures(steps, rows, sampler, ask, output / "fresh-naive.json")
    own = {"braked": saved(str(path / "model"))}
    braked = policy_figures(own, rows, sampler, ask, output / "fresh-braked.json")
    return compare(quickstart.seed, path, figures, braked), figures


def run_curves(
    quickstart: Quickstart, output: Path, settings: Settings, naive: Figures
) -> tuple[dict[str, dict[str, Track]], float]:
    """By method and proxy, PPO on the naive one being at hand; and the gold scorers' agreement."""
    rows = fresh_rows(quickstart, settings.fresh)
    sampler = Sampler(quickstart)
    all_ = proxies(quickstart, output, settings)
    by_ppo = {"naive": follow_policies(naive)}
    for number, proxy in enumerate(all_[1:], start=1):
        path = train_ppo(quickstart, proxy, output / f"ppo-{number}", settings, has_brake=False)
        steps = {"0": saved(quickstart.policy)} | checkpoints(path, settings)
        ask = scorer_of(proxy, sampler.encoder)
        figures = policy_figures(steps, rows, sampler, ask, output / f"fresh-{number}.json")
        by_ppo[proxy.name] = follow_policies(figures)
    sampler.engine.load_weights(saved(quickstart.policy)(), version=0)
    scorers = {proxy.name: scorer_of(proxy, sampler.encoder) for proxy in all_}
    some = rows[: settings.pool_prompts]
    pools = draw_pools(some, sampler, scorers, output / "pools", size=settings.pool)
    by_choice = {name: follow_pools(name, pools) for name in [*scorers, "gold"]}
    return {"best of n": by_choice, "PPO": by_ppo}, agreement(pools)


def agreement(pools: Sequence[Pool]) -> float:
    """Share of a prompt's pairs of draws that both gold scorers rank alike, where the rules see a
    difference of more than a tenth."""
    right = total = 0.0
    for pool in pools:
        first, second = np.triu_indices(len(pool.counts), 1)
        gap = pool.scores["gold"][first] - pool.scores["gold"][second]
        other = pool.scores["second gold"][first] - pool.scores["second gold"][second]
        weight = (pool.counts[first] * pool.counts[second]) * (np.abs(gap) > 0.1)
        right += float((weight * ((gap * other > 0) + 0.5 * (other == 0))).sum())
        total += float(weight.sum())
    return right / total


def settle(output: Path, settings: Settings, quickstart: Quickstart) -> Path:
    """The folder of one run's figures; refused where those in it are of other settings.

    Raises:
        SystemExit: they are, or they are of another run.
    """
    folder = output / f"seed-{quickstart.seed}"
    mine = {"run": str(quickstart.path), **asdict(settings)}
    path = folder / "settings.json"
    if path.exists() and json.loads(path.read_text("utf-8")) != mine:
        raise SystemExit(f"{path}: other settings than now; use another folder, or delete this one")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, mine)
    return folder
