// Who answers, and with which key.
import { hasKey, models, useKey } from "./chat_server.js";
import { fresh } from "./chat_conversation.js";

const AGAIN = "+"; // beside it: the same model once more
const find = (name) => document.getElementById(name);

export function askForKey() {
  find("key-form").hidden = false;
  find("key").focus();
}

async function fill(told) {
  let known;
  try {
    known = (await models()).filter((model) => model.kind !== "reward");
  } catch (error) {
    if (error.status === 401) askForKey();
    return told(error.message, { isBad: true, again: error.status === 401 ? null : () => fill(told) });
  }
  known.sort((a, b) => (b.kind === "alias") - (a.kind === "alias"));
  const options = () => known.map(({ id }) => new Option(id, id));
  find("model").replaceChildren(...options());
  find("beside").replaceChildren(new Option("nobody", ""), new Option("the same again", AGAIN), ...options());
  told(known.length ? "" : "This server has no model that answers.", { isBad: !known.length });
}

export const isChosen = () => Boolean(find("model").value);

// One answer, or two; sides are drawn by lot, so that being first is no model's advantage.
export function newAnswers() {
  const [model, beside] = [find("model").value, find("beside").value];
  if (!beside) return [fresh(model)];
  const pair = [fresh(model), fresh(beside === AGAIN ? model : beside)];
  return Math.random() < 0.5 ? pair : pair.reverse();
}

export function listen(told) {
  find("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    useKey(find("key").value.trim());
    find("key").value = "";
    find("key-form").hidden = true;
    await fill(told);
    if (find("key-form").hidden) find("text").focus();
  });
  if (find("chat").dataset.needsKey === "yes" && !hasKey()) return;
  find("key-form").hidden = true;
  fill(told);
}
