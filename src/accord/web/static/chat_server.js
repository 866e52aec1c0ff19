// What the chat page asks of the server: the same routes as every client of OpenAI's protocol, with
// the key that somebody gave in this tab.
const KEY = "accord.chat.key";

export class Refusal extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

function kept() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

let key = kept();

export const hasKey = () => Boolean(key);

export function useKey(given) {
  key = given;
  try {
    sessionStorage.setItem(KEY, given);
  } catch {
    // this page knows it until it is left
  }
}

async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const how = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let response;
  try {
    response = await fetch(path, { ...how, headers, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal("The server cannot be reached.");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  throw new Refusal(said?.error?.message ?? `The server answered ${response.status}.`, response.status);
}

export async function models() {
  return (await (await ask("/v1/models")).json()).data;
}

export async function post(path, body) {
  return (await ask(path, body)).json();
}

// Pieces of a streamed answer. Aborting the signal ends the request, and with it the sampling.
export async function* pieces(body, signal) {
  const response = await ask("/v1/chat/completions", { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (signal.aborted) throw error;
      return { done: true };
    });
    if (done) throw new Refusal("The connection broke off before the answer ended.");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const said = JSON.parse(data);
      if (said.error) throw new Refusal(said.error.message);
      yield said;
    }
  }
}
