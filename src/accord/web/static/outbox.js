// Answers that the server has not acknowledged. They are kept in this browser and sent again, under
// the key they had, until the server has them; the same key is stored once however often it comes.
import { store, stored } from "./keys.js";

const STORE = "accord.outbox";
const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 30000;
const MOST_LEFT_BEHIND = 60000; // characters that browsers send on for a page that was left

const region = document.getElementById("outbox");
const me = document.body.dataset.who;
let wait = FIRST_WAIT_MS;
let timer = null;
let sending = null;
let whenSaved = () => {};

const all = () => stored(STORE, []);
// Somebody else's stay where they are: they are not to be sent in my name.
const mine = () => all().filter((entry) => entry.who === me);
const waiting = () => mine().filter((entry) => !entry.refused);
const field = (entry, name) => Object.fromEntries(entry.fields)[name];
const keyOf = (entry) => field(entry, "key");
export const isBusy = () => waiting().length > 0;

function replace(key, entry) {
  const rest = all().filter((other) => keyOf(other) !== key);
  return store(STORE, entry ? [...rest, entry] : rest);
}

// Keep an answer, to be sent; false where the browser would not. The server is to say that it is
// stored, and no more (`stay`): the page shows the next task by itself.
export function keep(address, fields) {
  const own = fields.filter(([name]) => name !== "csrf" && name !== "stay");
  const entry = { who: me, address, fields: [...own, ["stay", "1"]] };
  return replace(keyOf(entry), entry);
}

export function start(callback) {
  whenSaved = callback;
  window.addEventListener("online", flush);
  show("");
  if (waiting().length) flush();
}

// Send what waits, one after the other, until something stands in the way.
export function flush() {
  sending ??= sendAll().finally(() => (sending = null));
  return sending;
}

async function sendAll() {
  clearTimeout(timer);
  const slow = setTimeout(show, FIRST_WAIT_MS, "the server has not answered");
  const tasks = [];
  let [entry, problem, said] = [null, "", ""];
  while (!problem && (entry = waiting()[0])) {
    ({ problem, said = "" } = await send(entry));
    tasks.push(field(entry, "task"));
  }
  clearTimeout(slow);
  show(problem);
  if (problem) {
    timer = setTimeout(flush, wait);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  } else {
    wait = FIRST_WAIT_MS;
    if (tasks.length) whenSaved(tasks, said);
  }
}

// What stands in the way of sending; or "", where the server has answered for good, and its words.
async function send(entry) {
  const { csrf } = document.body.dataset;
  const body = new URLSearchParams([...entry.fields, ["csrf", csrf]]);
  let response, page;
  try {
    response = await fetch(entry.address, {
      method: "POST",
      headers: { "HX-Request": "true", "X-CSRF-Token": csrf },
      body,
      redirect: "manual",
      keepalive: String(body).length < MOST_LEFT_BEHIND,
      signal: AbortSignal.timeout(LONGEST_WAIT_MS),
    });
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return { problem: "no connection" };
  }
  const { ok, status } = response;
  if (status >= 500 || status === 429) return { problem: "the server has a problem" };
  if (!ok && status !== 404 && status !== 409 && status !== 422) {
    return { problem: "you are signed out; sign in again in another window, then load this page again" };
  }
  const isDone = replace(keyOf(entry), ok ? null : { ...entry, refused: page.body.textContent.trim() });
  const said = page.querySelector('[hx-swap-oob="innerHTML:#status"]')?.textContent;
  return { problem: isDone ? "" : "this browser has no room", said };
}

function show(problem) {
  const lines = [];
  const count = waiting().length;
  if (count) {
    const line = document.createElement("p");
    const what = count === 1 ? "1 answer is" : `${count} answers are`;
    line.textContent =
      `Not saved yet (${problem || "no connection"}): ${what} kept in this browser and will be ` +
      "sent again by itself.";
    lines.push(line);
  }
  lines.push(...mine().filter((entry) => entry.refused).map(refusal));
  region.replaceChildren(...lines);
  region.hidden = !lines.length;
}

// What the server would not take is shown with all that was entered, until it is thrown away.
function refusal(entry) {
  const box = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = entry.refused;
  const text = document.createElement("pre");
  const hidden = [
    ...["lease", "key", "task", "csrf", "stay", "guideline_version", "time_on_task_s"],
    ...["suggestion_shown", "revises"],
  ];
  const said = entry.fields.filter(([name, value]) => value && !hidden.includes(name));
  text.textContent = said.map(([name, value]) => `${name}: ${value}`).join("\n");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Throw this answer away";
  button.addEventListener("click", () => {
    replace(keyOf(entry), null);
    show("");
  });
  box.append(summary, text, button);
  return box;
}
