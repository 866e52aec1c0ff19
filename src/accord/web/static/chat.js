// The chat page: answers as they come, and what can be done with them.
import { Refusal, pieces } from "./chat_server.js";
import * as conversation from "./chat_conversation.js";
import * as feedback from "./chat_feedback.js";
import * as setup from "./chat_setup.js";
import { show, write } from "./chat_turns.js";

const { turns, fresh, keptOf, textOf } = conversation;
const find = (name) => document.getElementById(name);

let running = null; // what stops the answers under way

function tell(text, { isBad = false, again = null } = {}) {
  find("status").textContent = isBad ? "" : text;
  find("message").replaceChildren();
  if (!isBad) return;
  const words = document.createElement("p");
  words.textContent = text;
  find("message").append(words);
  if (!again) return;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Try again";
  button.addEventListener("click", again);
  find("message").append(button);
}

// The page. Turns are made anew; who was at a control of one is at the same control afterwards, or
// at the turn's heading where that control is gone.

function draw() {
  conversation.keep();
  const active = document.activeElement;
  const place = [...find("turns").children].findIndex((node) => node.contains(active));
  const { selectionStart = null, selectionEnd = null } = active ?? {};
  const isBusy = running !== null;
  find("turns").replaceChildren(
    ...turns.map((turn, at) => show(turn, acts, { isLast: at === turns.length - 1, isBusy })),
  );
  find("turns").setAttribute("aria-busy", String(isBusy));
  find("hint").hidden = turns.length > 0;
  find("send").hidden = isBusy;
  find("stop").hidden = !isBusy;
  if (place < 0) return;
  const node = find("turns").children[place];
  const same = active.dataset.does && node?.querySelector(`[data-does="${active.dataset.does}"]`);
  (same || node?.querySelector("h2"))?.focus({ preventScroll: true });
  if (same && selectionStart !== null) same.setSelectionRange(selectionStart, selectionEnd);
}

function bodyOf(turn, answer) {
  const cards = find("turns").children[turns.indexOf(turn)]?.querySelectorAll(".response") ?? [];
  return cards[cards.length > 1 ? turn.answers.indexOf(answer) : 0]?.querySelector(".text");
}

const showEnd = () => find("turns").lastElementChild?.scrollIntoView({ block: "end" });

// Change the page, and stay at the conversation's end if that is where the reader is.
function follow(change) {
  const end = find("turns").lastElementChild?.getBoundingClientRect().bottom ?? 0;
  change();
  if (end <= innerHeight) showEnd();
}

// Answers

// Let answers of a turn be written: those of one model are choices of one request.
async function answer(turn, wanted) {
  const stop = new AbortController();
  running = stop;
  tell("An answer is being written.");
  draw();
  showEnd();
  const byModel = new Map();
  for (const one of wanted) byModel.set(one.model, [...(byModel.get(one.model) ?? []), one]);
  await Promise.all([...byModel].map(([model, own]) => ask(turn, model, own, stop.signal)));
  if (turn.answers.length === 1) turn.kept = 0;
  running = null;
  follow(draw);
  const isFailed = wanted.some((one) => one.state === "failed");
  tell(stop.signal.aborted ? "Stopped." : isFailed ? "No answer came; your words are kept." : "Answered.");
}

async function ask(turn, model, own, signal) {
  const changed = new Set();
  const refresh = () => {
    follow(() => {
      for (const one of changed) {
        const body = one.state === "waiting" && bodyOf(turn, one);
        if (body) write(body, one);
      }
    });
    changed.clear();
  };
  const messages = conversation.messagesBefore(turn);
  try {
    for await (const piece of pieces({ model, messages, n: own.length, ...feedback.named() }, signal)) {
      for (const { index, delta, finish_reason: finish } of piece.choices) {
        const one = own[index];
        Object.assign(one, { id: piece.id, choice: index, finish: finish ?? one.finish });
        one.text += delta.content ?? "";
        if (!changed.size) requestAnimationFrame(refresh);
        changed.add(one);
      }
    }
    for (const one of own) one.state = "done";
  } catch (error) {
    const why = error instanceof Refusal ? error.message : `This page failed: ${error.message}`;
    const end = signal.aborted ? { state: "stopped" } : { state: "failed", why };
    for (const one of own) Object.assign(one, end);
    if (error.status === 401) setup.askForKey();
  }
}

// What can be done with an answer. What is said of it is sent, if that is agreed to, and told to be
// stored when the server has stored it.

async function send(said, whenStored = () => {}) {
  if (!(await feedback.mayBeSent())) {
    if (feedback.isTaken()) tell("Nothing was sent: you have not agreed to it.");
    return;
  }
  try {
    await feedback.send(said);
  } catch (error) {
    tell(`This was not stored: ${error.message}`, { isBad: true, again: () => send(said, whenStored) });
    return;
  }
  whenStored();
  tell("Stored. Thank you.");
}

const named = (one) => ({ response_id: one.id, choice: one.choice });

const acts = {
  thumb(turn, one, up) {
    return send({ ...named(one), kind: "thumb", up }, () => {
      one.thumb = up;
      draw();
    });
  },

  vote(turn, kept) {
    const [a, b] = turn.answers;
    const verdict = kept === null ? "tie" : ["this", "other"][kept];
    acts.choose(turn, kept ?? 0);
    return send({ ...named(a), kind: "vote", other_id: b.id, other_choice: b.choice, verdict });
  },

  choose(turn, place) {
    turn.kept = place;
    draw();
  },

  edit(turn, one) {
    one.draft = textOf(one);
    draw();
    bodyOf(turn, one).querySelector("textarea").focus();
  },

  save(turn, one, text) {
    const isNew = text !== null && text.trim() && text !== textOf(one);
    const isKnown = one.state === "done" && one.text.trim(); // else the server has forgotten it
    one.draft = null;
    if (isNew) conversation.correct(turn, one, text);
    draw();
    find("turns").children[turns.indexOf(turn)].querySelector('[data-does="edit"]')?.focus();
    if (isNew && isKnown) send({ ...named(one), kind: "edit", text });
  },

  regenerate(turn) {
    const before = keptOf(turn);
    const next = fresh(before.model);
    Object.assign(turn, { answers: [before, next], kept: null });
    return answer(turn, [next]);
  },

  retry(turn, one) {
    const next = fresh(one.model);
    turn.answers.splice(turn.answers.indexOf(one), 1, next);
    return answer(turn, [next]);
  },

  takeBack(turn) {
    const text = conversation.takeBack(turn);
    draw();
    tell("");
    find("text").value = [text, find("text").value].filter(Boolean).join("\n");
    find("text").focus();
  },
};

find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("text").value;
  if (running || !text.trim() || !setup.isChosen()) return;
  find("text").value = "";
  const turn = conversation.addTurn(text, setup.newAnswers());
  answer(turn, turn.answers);
});

const isTouched = matchMedia("(pointer: coarse)"); // a phone's Enter begins a line

find("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouched.matches) return;
  event.preventDefault();
  find("composer").requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) running?.abort();
});
find("stop").addEventListener("click", () => {
  running?.abort();
  find("text").focus();
});
find("new").addEventListener("click", () => {
  running?.abort();
  turns.length = 0;
  draw();
  tell("A new chat.");
  find("text").focus();
});

addEventListener("pagehide", conversation.keep); // with what is being written
feedback.listen(tell);
setup.listen(tell);
draw();
