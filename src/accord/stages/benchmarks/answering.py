"""A model's answers to a suite's questions, kept for a resumed run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from accord.core import files
from accord.core.device import default_device
from accord.core.errors import ConfigError, Interrupted
from accord.core.interfaces import Engine, EngineFactory
from accord.core.progress import progress_bar
from accord.core.types import SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.corpora.readers import read_rows
from accord.engine.generate import generate
from accord.models.loading import load_policy, load_tokenizer, within_context
from accord.suites.base import Answer, Question, Suite
from accord.suites.texts import cut_at

CHUNK_QUESTIONS = 256
"""Questions whose answers are written together: the most that a kill can lose."""


class Respondent:
    """One model, loaded when it is first asked something that is not on disk.

    Args:
        model: a policy's directory or hub name.
        max_length: most tokens of a prompt and its response; a shorter context counts.
        max_new_tokens: shortens what suites allow; None leaves it to them.
    """

    def __init__(
        self,
        model: str,
        engine_factory: EngineFactory,
        *,
        max_length: int,
        max_new_tokens: int | None,
        seed: int,
    ) -> None:
        self.model = model
        self.seed = seed
        self._engine_factory = engine_factory
        self._max_length = max_length
        self._max_new_tokens = max_new_tokens
        self._encoder = ChatEncoder(load_tokenizer(model))
        self._loaded: tuple[Engine, int] | None = None

    def answer_all(self, suite: Suite, path: Path, stop: object) -> dict[str, Answer]:
        """Answers to every turn of a suite, by question id, in the file at `path`.

        Raises:
            Interrupted: it was asked to stop; the answers so far are on disk.
        """
        rows = read_rows(str(path)) if path.exists() else []
        found = {row.pop("id"): _answer(row) for row in rows}
        turn = list(suite.questions())
        while turn:
            left = [question for question in turn if question.id not in found]
            with progress_bar(f"answering {suite.name}", len(turn)) as bar:
                for start in range(0, len(left), CHUNK_QUESTIONS):
                    if stop:
                        raise Interrupted(f"{path}: stopped; run again to resume")
                    chunk = left[start : start + CHUNK_QUESTIONS]
                    place = len(turn) - len(left) + start  # the same in a resumed run
                    found |= dict(
                        zip((q.id for q in chunk), self._answers(chunk, place), strict=True)
                    )
                    files.write_jsonl(path, [{"id": i, **asdict(a)} for i, a in found.items()])
                    bar.update(place + len(chunk))
            turn = list(suite.follow_up(found))
        return found

    def _answers(self, questions: Sequence[Question], number: int) -> list[Answer]:
        """Answers in the order of the questions; those sampled alike are sampled together."""
        groups: dict[SamplingParams, list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            limit = min(question.max_new_tokens, self._max_new_tokens or question.max_new_tokens)
            groups[SamplingParams(limit, question.temperature)].append(place)
        found: dict[int, Answer] = {}
        for params, places in groups.items():
            answers = self._sampled([questions[place] for place in places], params, number)
            found |= dict(zip(places, answers, strict=True))
        return [found[place] for place in range(len(questions))]

    def _sampled(
        self, questions: Sequence[Question], params: SamplingParams, number: int
    ) -> list[Answer]:
        engine, context = self._load()
        room = context - params.max_new_tokens
        if room < 1:
            raise ConfigError(
                f"{self.model}: its context of {context} tokens has no room for a response of "
                f"{params.max_new_tokens}; lower max_new_tokens"
            )
        whole = [self._prompt_ids(question) for question in questions]
        requests = [
            prompt[-room:]  # the start of an over-long prompt is cut, and counted
            for prompt, question in zip(whole, questions, strict=True)
            for _ in range(question.samples)
        ]
        results = iter(generate(engine, requests, params, seed=self.seed * 100_003 + number))
        answers = []
        for prompt, question in zip(whole, questions, strict=True):
            said = [next(results) for _ in range(question.samples)]
            texts = [self._encoder.decode(result.response_ids) for result in said]
            cut = [cut_at(text, question.stop) for text in texts]
            finishes = [
                "stop" if short != text else result.finish
                for short, text, result in zip(cut, texts, said, strict=True)
            ]
            answers.append(Answer(tuple(cut), tuple(finishes), was_cut=len(prompt) > room))
        return answers

    def _prompt_ids(self, question: Question) -> tuple[int, ...]:
        if question.is_text:
            (message,) = question.prompt
            # Begun as the tokenizer begins every text, which some models are lost without.
            text = self._encoder.encode_text(message["content"])
            return (*self._encoder.encode_start(), *text)
        return self._encoder.encode_prompt(question.prompt)

    def _load(self) -> tuple[Engine, int]:
        if self._loaded is None:
            policy = load_policy(self.model, device=default_device())
            engine = self._engine_factory(policy, self._encoder.tokenizer)
            self._loaded = engine, within_context(self._max_length, policy.config)
        return self._loaded


def _answer(row: dict[str, object]) -> Answer:
    texts, finishes = row["texts"], row["finishes"]
    assert isinstance(texts, list) and isinstance(finishes, list)
    return Answer(tuple(texts), tuple(finishes), bool(row["was_cut"]))
