"""Suites by name, made from the files and the judge of a config."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accord.core.errors import ConfigError, DataError
from accord.core.interfaces import PairJudge
from accord.corpora.judgements import read_judgements
from accord.corpora.pairs import load_comparisons
from accord.judges.configured import Judge, ask_with
from accord.judges.recorded import RecordedPeople
from accord.sandbox.levels import Level
from accord.sandbox.sandbox import Sandbox
from accord.stages.benchmarks.config import Config
from accord.stages.benchmarks.scored import scored_reward
from accord.suites.alpaca_eval import AlpacaEval
from accord.suites.alpaca_eval_files import AlpacaFiles, Outputs, read_alpaca_eval
from accord.suites.base import Answer, Compares, Suite, SuiteResult
from accord.suites.confidence import StatedConfidence, load_facts
from accord.suites.gsm8k import GSM8K, load_word_problems
from accord.suites.human_eval import LIMITS, HumanEval, load_problems
from accord.suites.instruction_following import InstructionFollowing
from accord.suites.instruction_prompts import make_prompts
from accord.suites.llmbar import GoldPair, JudgeCheck, check_judge, gold_pairs, read_llmbar
from accord.suites.mt_bench import MTBench, MTBenchPairs
from accord.suites.mt_bench_judge import PromptedJudge, read_templates
from accord.suites.mt_bench_questions import TwoTurns, read_mt_bench
from accord.suites.over_refusal import XSTest, load_requests
from accord.suites.reward_bench import read_reward_bench, reward_bench
from accord.suites.rows import find_file, read_records
from accord.suites.unanswerable import Unanswerable, load_riddles


@dataclass(frozen=True)
class Opponent:
    """Another model and its answers, which a judge compares with."""

    model: str
    answers: Mapping[str, Answer]


class Suites:
    """Makes suites, and checks the judge once.

    Args:
        config: files, limits, styles.
        judge: for suites that need one.
    """

    def __init__(self, config: Config, judge: Judge | None) -> None:
        self.config = config
        self.judge = judge
        self._checks: dict[str, JudgeCheck] = {}
        said = [one for name in config.human_judgements for one in read_judgements(name)]
        self._people = RecordedPeople("people", said) if said else None

    def make(self, name: str) -> Suite:
        """The suite of that name.

        Raises:
            ConfigError: a directory, a judge or a sandbox is missing.
            DataError: a file is missing or cannot be used.
        """
        return _PLAIN[name](self)

    def comparing(self, name: str, opponent: Opponent) -> Compares:
        """The suite that compares with another model's answers, or (with none yet) only asks.

        Raises:
            As `make`.
        """
        return _COMPARING[name](self, opponent)

    def taken(self, items: Any) -> Any:
        """The first `max_questions` of them."""
        most = self.config.max_questions
        return items if most < 0 else items[:most]

    def folder(self, name: str) -> Path:
        """Where a suite's files are.

        Raises:
            ConfigError: no directory was named.
        """
        if self.config.benchmarks is None:
            raise ConfigError(f"benchmark: {name} is read from files; give benchmarks DIRECTORY")
        return Path(self.config.benchmarks) / name

    def file(self, suite: str, name: str) -> Path:
        """One of a suite's files, whatever its ending.

        Raises:
            ConfigError: no directory was named.
            DataError: there is no such file.
        """
        found = find_file(self.folder(suite), name)
        if found is None:
            raise DataError(f"{self.folder(suite)}: no {name}.jsonl, .json or .csv")
        return found

    def _judge(self) -> Judge:
        if self.judge is None:
            raise ConfigError("benchmark: this suite needs a judge; give judge, or judge_url")
        return self.judge

    def _judge_check(self, judge: PairJudge) -> JudgeCheck | None:
        """On pairs of known quality, where there are any: a judge that cannot judge is called so.

        Of the judge that compares: the same model in other words may not be able to.
        """
        if self._judge().are_people:  # who are not asked to pass a test
            return None
        if judge.name not in self._checks and (pairs := self._known_pairs()):
            own, seed = self.config.judge_author or "", self.config.seed
            self._checks[judge.name] = check_judge(judge, pairs, model=own, seed=seed)
        return self._checks.get(judge.name)

    def _known_pairs(self) -> list[GoldPair]:
        """Of the same task where there are such, else LLMBar's."""
        if self.config.gold_comparisons:
            held_out = load_comparisons(self.config.gold_comparisons)
            return gold_pairs(held_out, seed=self.config.seed)
        folder = self.folder("llmbar")
        return read_llmbar(folder) if folder.is_dir() else []

    def known(self, graded: SuiteResult) -> SuiteResult:
        """Without what people's judgements cannot tell: they saw each pair in one order."""
        if self.judge is None or not self.judge.are_people:
            return graded
        of_orders = ("judge_consistency", "judge_first_share")
        figures = {k: v for k, v in graded.figures.items() if k not in of_orders}
        return replace(graded, figures=figures)

    def alpaca_eval(self) -> AlpacaEval:
        """Against the outputs in its files."""
        whole = read_alpaca_eval(self.folder("alpaca_eval"))
        files = AlpacaFiles(
            self._shortened(whole.baseline),
            None if whole.difficulty is None else self.taken(whole.difficulty),
            # Nobody is asked to compare two models' outputs that are not evaluated.
            () if self._judge().are_people else tuple(map(self._shortened, whole.gamed)),
        )
        return self._alpaca_eval(files)

    def alpaca_eval_pairs(self, opponent: Opponent) -> AlpacaEval:
        """Against a model, which needs no outputs in its files."""
        folder = self.folder("alpaca_eval")
        path = find_file(folder, "instructions") or self.file("alpaca_eval", "baseline")
        asked = self.taken([record.text("instruction") for record in read_records(path)])
        said = opponent.answers
        texts = [said[str(i)].texts[0] if said else "" for i in range(len(asked))]
        files = AlpacaFiles(Outputs(opponent.model, asked, texts))
        return self._alpaca_eval(files)

    def _alpaca_eval(self, files: AlpacaFiles) -> AlpacaEval:
        judge, seed = self._judge().pairs, self.config.seed
        return AlpacaEval(files, judge, self._judge_check(judge), self._people, seed=seed)

    def _shortened(self, outputs: Outputs) -> Outputs:
        instructions, texts = self.taken(outputs.instructions), self.taken(outputs.texts)
        return Outputs(outputs.generator, instructions, texts)

    def mt_bench(self) -> MTBench:
        """Graded answer by answer."""
        items = self.taken(read_mt_bench(self.folder("mt_bench")))
        grades = self._prompted() or self._judge().grades
        if grades is None:
            raise ConfigError(
                "benchmark: mt_bench grades answers from 1 to 10, which a reward model cannot; "
                "give another judge, or compare with a model by against"
            )
        return MTBench(items, grades, self.config.seed)

    def mt_bench_pairs(self, opponent: Opponent) -> MTBenchPairs:
        """Turn by turn against a model."""
        items = self.taken(read_mt_bench(self.folder("mt_bench")))
        told = dict.fromkeys((item.id for item in items), ("", ""))
        if opponent.answers:
            told = TwoTurns(items).turns_of(opponent.answers)
        judge = self._prompted() or self._judge().pairs
        check, seed = self._judge_check(judge), self.config.seed
        return MTBenchPairs(items, judge, told, opponent.model, check, seed, self._people)

    def _prompted(self) -> PromptedJudge | None:
        """An endpoint can be asked in MT-Bench's own words."""
        client = self._judge().client
        if client is None:
            return None
        templates = read_templates(self.file("mt_bench", "judge_prompts"))
        return PromptedJudge(ask_with(client), templates, name=client.name)

    def reward_bench(self) -> SuiteResult:
        """Scores of the model, which is a reward model, or a policy beside its reference.

        Raises:
            ConfigError: it is a policy, and there is no reference.
        """
        folder = self.folder("reward_bench")
        path = find_file(folder, "filtered") or self.file("reward_bench", "test")
        rows = self.taken(read_reward_bench(path))
        return reward_bench(rows, scored_reward(self.config), seed=self.config.seed)

    def human_eval(self) -> HumanEval:
        """Its programs run in the sandbox of the level that was asked for."""
        config = self.config
        return HumanEval(
            self.taken(load_problems(self.file("humaneval", "HumanEval"))),
            Sandbox(minimum=Level[config.sandbox.upper()], limits=LIMITS),
            style=config.human_eval_style,
            samples=config.human_eval_samples,
            temperature=config.human_eval_temperature,
        )


_PLAIN: dict[str, Callable[[Suites], Suite]] = {
    "alpaca_eval": Suites.alpaca_eval,
    "mt_bench": Suites.mt_bench,
    "human_eval": Suites.human_eval,
    "gsm8k": lambda s: GSM8K(s.taken(load_word_problems(s.file("gsm8k", "test")))),
    "instruction_following": lambda s: InstructionFollowing(s.taken(make_prompts())),
    "xstest": lambda s: XSTest(s.taken(load_requests(s.file("xstest", "xstest_prompts")))),
    "confidence": lambda s: StatedConfidence(s.taken(load_facts())),
    "unanswerable": lambda s: Unanswerable(s.taken(load_riddles()), s.taken(load_facts())),
}
_COMPARING: dict[str, Callable[[Suites, Opponent], Compares]] = {
    "alpaca_eval": Suites.alpaca_eval_pairs,
    "mt_bench": Suites.mt_bench_pairs,
}
