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
from accord.suites.alpaca_eval_files import Outputs, read_difficulty, read_outputs
from accord.suites.base import Answer, Suite
from accord.suites.confidence import StatedConfidence, load_facts
from accord.suites.gsm8k import GSM8K, load_word_problems
from accord.suites.human_eval import LIMITS, HumanEval, load_problems
from accord.suites.instruction_following import InstructionFollowing
from accord.suites.instruction_prompts import make_prompts
from accord.suites.llmbar import JudgeCheck, check_judge, read_llmbar
from accord.suites.mt_bench import MTBench, MTBenchPairs
from accord.suites.mt_bench_judge import PromptedJudge, read_templates
from accord.suites.mt_bench_questions import read_questions
from accord.suites.over_refusal import XSTest, load_requests
from accord.suites.rows import read_records
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

    def taken(self, items: list[Any]) -> list[Any]:
        """The first `max_questions` of them."""
        most = self.config.max_questions
        return items if most < 0 else items[:most]

    def file(self, *parts: str) -> Path:
        """A benchmark's file, packed or not.

        Raises:
            ConfigError: no directory was named.
            DataError: there is none of that name.
        """
        found = self.find(*parts)
        if found is None:
            raise DataError(f"{Path(str(self.config.benchmarks), *parts)}: no such file")
        return found

    def find(self, *parts: str) -> Path | None:
        """The same, None where there is no such file; without an ending, any of them will do."""
        if self.config.benchmarks is None:
            raise ConfigError(f"benchmark: {parts[0]} is read from files; give benchmarks DIRECTORY")
        path = Path(self.config.benchmarks, *parts)
        endings = ("", ".gz") if path.suffix else (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv")
        return next(
            (p for ending in endings if (p := path.with_name(path.name + ending)).exists()), None
        )

    def _judge(self) -> Judge:
        if self.judge is None:
            raise ConfigError("benchmark: this suite needs a judge; give judge, or judge_url")
        return self.judge

    def _judge_check(self) -> JudgeCheck | None:
        """On LLMBar, where it is at hand: a judge that cannot judge is called so."""
        folder = Path(str(self.config.benchmarks), "llmbar")
        if self._check is None and folder.is_dir():
            pairs = read_llmbar(folder)
            self._check = check_judge(self._judge().pairs, pairs, seed=self.config.seed)
        return self._check

    def _alpaca_eval(self, answers: Answers | None) -> AlpacaEval:
        baseline = self._alpaca_baseline(answers)
        gamed = [
            self._shortened(read_outputs(path))
            for kind in ("concise", "verbose")
            if answers is None and (path := self.find("alpaca_eval", f"baseline_{kind}"))
        ]
        difficulty = self.find("alpaca_eval", "instruction_difficulty")
        return AlpacaEval(
            baseline=baseline,
            judge=self._judge().pairs,
            check=self._judge_check(),
            difficulty=None
            if difficulty is None
            else read_difficulty(difficulty)[: len(baseline.texts)],
            gamed=gamed,
            seed=self.config.seed,
        )

    def _alpaca_baseline(self, answers: Answers | None) -> Outputs:
        """The official baseline's outputs, or another model's answers to the same instructions."""
        path = self.find("alpaca_eval", "baseline")
        if path is not None and not self.config.against:
            return self._shortened(read_outputs(path))
        if not self.config.against:
            raise DataError(
                f"{self.config.benchmarks}/alpaca_eval: no baseline.jsonl (the official baseline's "
                "model_outputs.json); put it there, or compare with a model by against"
            )
        path = path or self.file("alpaca_eval", "instructions")
        asked = self.taken([record.text("instruction") for record in read_records(path)])
        # Without answers it is only asked, not graded.
        texts = [answers[str(i)].texts[0] if answers else "" for i in range(len(asked))]
        return Outputs(self.config.against, asked, texts)

    def _shortened(self, outputs: Outputs) -> Outputs:
        return Outputs(
            outputs.generator, self.taken(outputs.instructions), self.taken(outputs.texts)
        )

    def _mt_bench(self, answers: Answers | None) -> MTBench | MTBenchPairs:
        items = self.taken(
            read_questions(
                self.file("mt_bench", "question.jsonl"),
                self.file("mt_bench", "reference_answer.jsonl"),
            )
        )
        judge = self._judge()
        grades, pairs = judge.grades, judge.pairs
        if judge.client is not None:  # an endpoint can be asked in the benchmark's own words
            templates = read_templates(self.file("mt_bench", "judge_prompts.jsonl"))
            pairs = grades = PromptedJudge(
                ask_with(judge.client), templates, name=judge.client.name
            )
        if answers is not None and self.config.against:
            turns = {
                item.id: (answers[f"{item.id}/1"].texts[0], answers[f"{item.id}/2"].texts[0])
                for item in items
            }
            return MTBenchPairs(
                items, pairs, turns, self.config.against, self._judge_check(), self.config.seed
            )
        if grades is None:
            raise ConfigError(
                "benchmark: mt_bench grades answers from 1 to 10, which a reward model cannot; "
                "give another judge, or compare with a model by against"
            )
        return MTBench(items, grades, self.config.seed)

    def human_eval(self) -> HumanEval:
        """Its programs run in the sandbox of the level that was asked for."""
        config = self.config
        return HumanEval(
            self.taken(load_problems(self.file("humaneval", "HumanEval.jsonl"))),
            Sandbox(minimum=Level[config.sandbox.upper()], limits=LIMITS),
            style=config.human_eval_style,
            samples=config.human_eval_samples,
            temperature=config.human_eval_temperature,
        )


_PLAIN: dict[str, Callable[[Suites], Suite]] = {
    "human_eval": Suites.human_eval,
    "gsm8k": lambda s: GSM8K(s.taken(load_word_problems(s.file("gsm8k", "test.jsonl")))),
    "instruction_following": lambda s: InstructionFollowing(s.taken(make_prompts())),
    "xstest": lambda s: XSTest(s.taken(load_requests(s.file("xstest", "xstest_prompts.csv")))),
    "confidence": lambda s: StatedConfidence(s.taken(load_facts())),
    "unanswerable": lambda s: Unanswerable(s.taken(load_riddles()), s.taken(load_facts())),
}
