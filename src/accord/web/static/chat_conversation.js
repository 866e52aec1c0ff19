// What was said so far: turns of a person, and answers to them. It is kept in this tab; the server
// keeps nothing of it but what somebody agrees to send.
const KEPT = "accord.chat.conversation";

function restored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

// `epoch` counts corrections of earlier answers: two answers are compared only if they were given to
// the same words.
const kept = restored();
export const turns = kept.turns ?? [];
let epoch = kept.epoch ?? 0;

for (const { answers = [] } of turns) {
  // A page that was left did not see the end of its answers.
  for (const one of answers) if (one.state === "waiting") one.state = "stopped";
}

export function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ turns, epoch }));
  } catch {
    // no room: the page knows it until it is left
  }
}

// An answer that waits to be written. `edited` is what somebody made of it, `draft` what he is
// writing, and `thumb` what is stored of it.
export const fresh = (model) => ({
  model, id: null, choice: 0, text: "", edited: null, draft: null, state: "waiting", finish: null,
  why: "", thumb: null, epoch,
});

export const textOf = (answer) => answer.edited ?? answer.text;
export const isUsable = (answer) => answer.state !== "failed" && textOf(answer).trim() !== "";

// Whether something can be said of it: it ended, and it is still the model's own.
export const isWhole = (answer) =>
  answer.state === "done" && answer.text.trim() !== "" && answer.edited === null;

// Whether two answers can be voted on: whole, different, and to the same words.
export const isPair = ([a, b]) => isWhole(a) && isWhole(b) && a.text !== b.text && a.epoch === b.epoch;

const last = (turn) => Math.max(0, turn.answers.findLastIndex(isUsable));

// The answer with which the conversation goes on: the chosen one, else the last of any use.
export const keptOf = (turn) => turn.answers[turn.kept ?? last(turn)];

export function messagesBefore(turn) {
  return turns.slice(0, turns.indexOf(turn)).flatMap((said) => {
    if (said.role === "user") return [{ role: "user", content: said.text }];
    const one = keptOf(said);
    return isUsable(one) ? [{ role: "assistant", content: textOf(one) }] : [];
  });
}

export function correct(turn, one, text) {
  one.edited = text;
  if (turn !== turns.at(-1)) epoch += 1;
}

export function addTurn(text, answers) {
  const before = turns.at(-1);
  if (before) before.kept ??= last(before);
  const turn = { role: "assistant", answers, kept: null };
  turns.push({ role: "user", text }, turn);
  return turn;
}

// Remove a turn and the message before it; gives the message.
export function takeBack(turn) {
  const [asked] = turns.splice(turns.indexOf(turn) - 1, 2);
  return asked.text;
}
