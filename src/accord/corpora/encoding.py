"""The one encoder from conversations to token ids: token in, token out, and no injection.

The chat template is rendered around placeholders; template text is tokenised with special tokens,
message text without, so that a user who types `<|im_end|>` has typed eight characters and ended
nothing. Training, scoring and sampling all go through here, so they see the same ids.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accord.core.errors import DataError, ModelError, TooLongError
from accord.core.types import Message

# Private-use characters around a message's index; they cannot come out of a template by chance.
_OPEN, _CLOSE = "\ue000", "\ue001"

_MOST_SHAPES = 512

PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ '\\n\\n' + ('Human' if m['role'] == 'user' else 'Assistant') + ': '"
    " + m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\nAssistant: ' }}{% endif %}"
)
"""For tokenizers that bring no chat template."""


@dataclass(frozen=True)
class Encoded:
    """A prompt and a response in token ids; the response ends with the end-of-turn token."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    cut: int = 0  # tokens removed from the prompt's start to fit

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)

    @property
    def input_ids(self) -> tuple[int, ...]:
        """Prompt, then response."""
        return self.prompt_ids + self.response_ids

    @property
    def target_mask(self) -> tuple[bool, ...]:
        """True on the response's tokens, the end of turn included."""
        return (False,) * len(self.prompt_ids) + (True,) * len(self.response_ids)


class ChatEncoder:
    """Encodes with one tokenizer and its chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._lock = threading.Lock()
        self._shapes: dict[tuple[tuple[str, ...], bool], list[str | int]] = {}
        if not tokenizer.chat_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self.end_of_turn_id = self._find_end_of_turn()
        # Padding is masked by length everywhere, so any id serves, the end of turn too.
        pad = tokenizer.pad_token_id
        self.pad_id = int(self.end_of_turn_id if pad is None else pad)

    def encode_text(self, text: str) -> list[int]:
        """Ids of untrusted text: nothing in it becomes a special token."""
        return self._encoded(text, is_plain=True)

    def encode_start(self) -> list[int]:
        """What the tokenizer puts before every text; what it would put behind would end it."""
        with self._lock:
            return [i for i in self.tokenizer.encode("") if i == self.tokenizer.bos_token_id]

    def encode_prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of a conversation, up to where the assistant's next words would start."""
        segments = self._render(_skeleton(messages), add_generation_prompt=True)
        return tuple(i for ids, _ in self._segment_ids(segments, messages) for i in ids)

    def encode_response(self, text: str) -> tuple[int, ...]:
        """Ids of a response and its end-of-turn token."""
        return (*self.encode_text(text), self.end_of_turn_id)

    def encode(self, messages: Sequence[Message], response: str, *, max_length: int) -> Encoded:
        """Prompt and response, cut to `max_length` at the prompt's start.

        Raises:
            TooLongError: the response alone leaves no room for a single prompt token.
        """
        prompt, answer = self.encode_prompt(messages), self.encode_response(response)
        room = max_length - len(answer)
        if room < 1:
            raise TooLongError(
                f"a response of {len(answer)} tokens does not fit max_length {max_length}"
            )
        cut = max(0, len(prompt) - room)
        return Encoded(prompt[cut:], answer, cut)

    def encode_conversation(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """A whole conversation; the mask is True on assistant words and their end of turn."""
        segments = self._render(_skeleton(messages), add_generation_prompt=False)
        ids: list[int] = []
        mask: list[bool] = []
        ends_turn = False
        for part, index in self._segment_ids(segments, messages):
            is_target = index is not None and messages[index]["role"] == "assistant"
            marks = [is_target] * len(part)
            if ends_turn and part and part[0] == self.end_of_turn_id:
                marks[0] = True
            ids += part
            mask += marks
            ends_turn = is_target
        return ids, mask

    def encode_observation(
        self, messages: Sequence[Message], observed: int, *, turn_ended: bool
    ) -> tuple[int, ...]:
        """Ids between an assistant's words and its next ones: the last `observed` messages with the
        template's text around them.

        After these ids the conversation is as `encode_prompt(messages)` has it, wherever the
        template writes a turn in the same way whatever follows it.

        Args:
            messages: all of them; the one before the observed is the assistant's.
            observed: at least 1.
            turn_ended: the words before bring their end of turn; it is not written again then.

        Raises:
            DataError: the template refuses the roles, or leaves the assistant's words out.
        """
        segments = self._render(_skeleton(messages), add_generation_prompt=True)
        said = len(messages) - observed - 1
        if said not in segments:
            raise DataError(f"the chat template leaves out message {said} of {len(messages)}")
        following = self._segment_ids(segments[segments.index(said) + 1 :], messages)
        ids = [i for part, _ in following for i in part]
        if turn_ended and ids[:1] == [self.end_of_turn_id]:
            ids = ids[1:]
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of response ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def _encoded(self, text: str, *, is_plain: bool) -> list[int]:
        # A tokenizer keeps this choice as a state of its own: another thread would turn it before
        # the text is read, and an `<|im_end|>` that a user typed would end a turn.
        with self._lock:
            found = self.tokenizer.encode(
                text, add_special_tokens=False, split_special_tokens=is_plain
            )
        return list(found)

    def _render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool
    ) -> list[str | int]:
        """The template's text, split at the placeholders into strings and message indices.

        It depends on the roles alone, so each shape of conversation is rendered once.
        """
        roles = tuple(message["role"] for message in messages)
        found = self._shapes.get((roles, add_generation_prompt))
        if found is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            found = _rendered(self.tokenizer, roles, add_generation_prompt)
            self._shapes[roles, add_generation_prompt] = found
        return found

    def _segment_ids(
        self, segments: list[str | int], messages: Sequence[Message]
    ) -> list[tuple[list[int], int | None]]:
        encoded: list[tuple[list[int], int | None]] = []
        for segment in segments:
            if isinstance(segment, int):
                encoded.append((self.encode_text(messages[segment]["content"]), segment))
            else:
                encoded.append((self._encoded(segment, is_plain=False), None))
        return encoded

    def _find_end_of_turn(self) -> int:
        """The first special token that the template writes after an assistant's words."""
        skeleton = _skeleton(
            [Message(role="user", content=""), Message(role="assistant", content="")]
        )
        tail = self._render(skeleton, add_generation_prompt=False)[-1]
        if isinstance(tail, str):
            special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
            for token in self.tokenizer.encode(tail, add_special_tokens=False):
                if token in special:
                    return int(token)
        if self.tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has neither an end of turn in its template nor an eos")
        return int(self.tokenizer.eos_token_id)


def _skeleton(messages: Sequence[Message]) -> list[Message]:
    return [
        Message(role=message["role"], content=f"{_OPEN}{index}{_CLOSE}")
        for index, message in enumerate(messages)
    ]


def _rendered(
    tokenizer: Any, roles: tuple[str, ...], add_generation_prompt: bool
) -> list[str | int]:
    skeleton = _skeleton([Message(role=role, content="") for role in roles])
    try:
        text = tokenizer.apply_chat_template(
            skeleton, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:
        raise DataError(
            f"the chat template refuses the roles {', '.join(roles)}: {error}"
        ) from error
    segments: list[str | int] = []
    for piece in text.split(_OPEN):
        index, found, rest = piece.partition(_CLOSE)
        if found:
            segments.append(int(index))
            piece = rest
        if piece:
            segments.append(piece)
    return segments
