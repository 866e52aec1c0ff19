"""Suites by name, made from the files and the judge of a config."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accord.core.errors import ConfigError, DataError
from accord.sandbox.levels import Level
from accord.sandbox.sandbox import Sandbox
from accord.stages.benchmarks.config import Config
from accord.stages.benchmarks.judges import Judge, ask_with
from accord.suites.alpaca_eval import AlpacaEval
from accord.suites.alpaca_eval_files import AlpacaFiles, Outputs, read_alpaca_eval
from accord.suites.base import Answer, Suite
from accord.suites.confidence import StatedConfidence, load_facts
from accord.suites.gsm8k import GSM8K, load_word_problems
from accord.suites.human_eval import LIMITS, HumanEval, load_problems
from accord.suites.instruction_following import InstructionFollowing
from accord.suites.instruction_prompts import make_prompts
from accord.suites.llmbar import JudgeCheck, check_judge, read_llmbar
from accord.suites.mt_bench import MTBench, MTBenchPairs
from accord.suites.mt_bench_judge import PromptedJudge, read_templates
from accord.suites.mt_bench_questions import TwoTurns, read_mt_bench
from accord.suites.over_refusal import XSTest, load_requests
from accord.suites.rows import find_file, read_records
from accord.suites.unanswerable import Unanswerable, load_riddles

Answers = Mapping[str, Answer]


class Suites:
    """Makes suites, and checks the judge once.

    Args:
        config: files, limits, styles.
        judge: for suites that need one.
    """

    def __init__(self, config: Config, judge: Judge | None) -> None:
        self.config = config
        self.judge = judge
        self._check: JudgeCheck | None = None

    def make(self, name: str, baseline: Answers | None = None) -> Suite:
        """The suite of that name.

        Args:
            baseline: another model's answers, which a judge compares with.

        Raises:
            ConfigError: a directory, a judge or a sandbox is missing.
            DataError: a file is missing or cannot be used.
        """
        if name == "alpaca_eval":
            return self._alpaca_eval(baseline)
        if name == "mt_bench":
            return self._mt_bench(baseline)
        return _PLAIN[name](self)

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

    def _judge_check(self) -> JudgeCheck | None:
        """On LLMBar, where it is at hand: a judge that cannot judge is called so."""
        folder = self.folder("llmbar")
        if self._check is None and folder.is_dir():
            self._check = check_judge(
                self._judge().pairs, read_llmbar(folder), seed=self.config.seed
            )
        return self._check

    def _alpaca_eval(self, answers: Answers | None) -> AlpacaEval:
        judge, seed = self._judge(), self.config.seed
        folder = self.folder("alpaca_eval")
        if self.config.against:
            path = find_file(folder, "instructions") or self.file("alpaca_eval", "baseline")
            asked = self.taken([record.text("instruction") for record in read_records(path)])
            # Without answers it only asks.
            texts = [answers[str(i)].texts[0] if answers else "" for i in range(len(asked))]
            files = AlpacaFiles(Outputs(self.config.against, asked, texts))
        else:
            whole = read_alpaca_eval(folder)
            files = AlpacaFiles(
                self._shortened(whole.baseline),
                None if whole.difficulty is None else self.taken(whole.difficulty),
                tuple(map(self._shortened, whole.gamed)),
            )
        return AlpacaEval(files, judge.pairs, self._judge_check(), seed=seed)

    def _shortened(self, outputs: Outputs) -> Outputs:
        instructions, texts = self.taken(outputs.instructions), self.taken(outputs.texts)
        return Outputs(outputs.generator, instructions, texts)

    def _mt_bench(self, answers: Answers | None) -> MTBench | MTBenchPairs:
        items = self.taken(read_mt_bench(self.folder("mt_bench")))
        judge, seed = self._judge(), self.config.seed
        grades, pairs = judge.grades, judge.pairs
        if judge.client is not None:  # an endpoint can be asked in the benchmark's own words
            templates = read_templates(self.file("mt_bench", "judge_prompts"))
            ask = ask_with(judge.client)
            pairs = grades = PromptedJudge(ask, templates, name=judge.client.name)
        if self.config.against:
            ids = [item.id for item in items]  # without answers it only asks
            told = TwoTurns(items).turns_of(answers) if answers else dict.fromkeys(ids, ("", ""))
            check = self._judge_check()
            return MTBenchPairs(items, pairs, told, self.config.against, check, seed)
        if grades is None:
            raise ConfigError(
                "benchmark: mt_bench grades answers from 1 to 10, which a reward model cannot; "
                "give another judge, or compare with a model by against"
            )
        return MTBench(items, grades, seed)

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
    "human_eval": Suites.human_eval,
    "gsm8k": lambda s: GSM8K(s.taken(load_word_problems(s.file("gsm8k", "test")))),
    "instruction_following": lambda s: InstructionFollowing(s.taken(make_prompts())),
    "xstest": lambda s: XSTest(s.taken(load_requests(s.file("xstest", "xstest_prompts")))),
    "confidence": lambda s: StatedConfidence(s.taken(load_facts())),
    "unanswerable": lambda s: Unanswerable(s.taken(load_riddles()), s.taken(load_facts())),
}
