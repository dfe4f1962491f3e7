// Talking to the server: JSON both ways, answers as they are written, and errors as sentences.

export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export async function get(path) {
  return read(await reach(path, {}));
}

export async function post(path, body) {
  return read(await reach(path, json(body)));
}

/** Yields {name, data} for each server-sent event of the answer. */
export async function* stream(path, body, signal) {
  const request = json({ ...body, stream: true });
  request.headers.Accept = "text/event-stream";
  const response = await reach(path, { ...request, signal });
  if (!response.ok) await read(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (pending + value).split("\n\n");
    pending = events.pop();
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)[1];
      const data = JSON.parse(/^data: (.*)$/m.exec(event)[1]);
      if (name === "error") throw new ApiError(data.message, 200, data.code);
      yield { name, data };
    }
  }
}

function json(body) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

async function reach(path, request) {
  try {
    return await fetch(path, { credentials: "same-origin", ...request });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("", 0, "unreachable");
  }
}

async function read(response) {
  const value = await response.json().catch(() => null);
  if (response.ok && value !== null) return value;
  if (response.status === 401 && location.pathname !== "/login" && location.pathname !== "/chat") {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  }
  const { message = `HTTP ${response.status}`, code = "unknown" } = value?.error ?? {};
  throw new ApiError(message, response.status, code);
}
