// What somebody says of answers, sent to the store: with a consent that is asked for once and kept in
// this browser, under a name that the browser makes up. Without it nothing is sent.
import { post } from "./chat_server.js";
import { store, stored } from "./keys.js";

const CONSENT = "accord.chat.consent";
const USER = "accord.chat.user";
const find = (name) => document.getElementById(name);

export const isTaken = () => find("chat").dataset.feedback === "yes";

function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `chat-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

let name = stored(USER, null);

function user() {
  if (!name) {
    name = newName();
    store(USER, name);
  }
  return name;
}

let consent = stored(CONSENT, null); // true, false, or not asked

// For requests: it keeps somebody who agreed on one arm of an alias.
export const named = () => (consent === true ? { user: user() } : {});

function decide(answer) {
  consent = answer;
  store(CONSENT, answer);
  show();
}

// Whether it may be sent; the first time, somebody is asked.
export async function mayBeSent() {
  if (!isTaken()) return false;
  if (consent === null) await ask();
  return consent === true;
}

function ask() {
  const dialog = find("consent-dialog");
  find("consent-name").textContent = user();
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(), { once: true }));
}

// A judgement in the store; it takes the place of what was said before of the same.
export function send(said) {
  return post("/v1/feedback", { ...said, user: user(), consent: true, replaces: true });
}

function show() {
  if (!isTaken()) return;
  const given = {
    true: `What you say of answers is kept, as ${user()}.`,
    false: "Nothing is sent: you chose so.",
    null: "Nothing has been sent. You are asked before the first time.",
  };
  find("given-state").textContent = given[consent];
  find("consent-change").textContent = consent === true ? "Send nothing from now on" : "Keep my feedback";
}

// `told` says what came of it.
export function listen(told) {
  if (!isTaken()) return;
  show();
  const close = (dialog, what) => () => {
    what?.();
    find(dialog).close();
  };
  find("consent-yes").addEventListener("click", close("consent-dialog", () => decide(true)));
  find("consent-no").addEventListener("click", close("consent-dialog", () => decide(false)));
  const change = () => (consent === true ? decide(false) : ask());
  find("given-open").addEventListener("click", () => find("given-dialog").showModal());
  find("given-close").addEventListener("click", close("given-dialog"));
  find("consent-change").addEventListener("click", close("given-dialog", change));
  find("erase").addEventListener("click", close("given-dialog", () => find("erase-dialog").showModal()));
  find("erase-no").addEventListener("click", close("erase-dialog"));
  find("erase-yes").addEventListener("click", close("erase-dialog", () => erase(told)));
}

async function erase(told) {
  try {
    await post("/v1/feedback/erase", { user: user() });
  } catch (error) {
    if (error.status !== 404) {
      return told(`Nothing was deleted: ${error.message}`, { isBad: true, again: () => erase(told) });
    }
  }
  name = null; // who comes back is somebody else
  store(USER, null);
  decide(null);
  told("What you gave is deleted.");
}
