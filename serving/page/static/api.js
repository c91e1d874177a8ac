// The page's own routes. The cookie is the browser's: no script can read it.

/** What the server turned down, or `status` 0 if it cannot be reached. */
export class PageError extends Error {
  constructor(status, error = {}, retryAfter = null) {
    super(error.message ?? "The server cannot be reached.");
    this.status = status;
    this.code = error.code ?? null;
    this.details = error;
    this.retryAfter = retryAfter;
  }
}

async function send(method, path, body, signal) {
  const headers = { "x-taleward-page": "1" };
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new PageError(0);
  }
}

async function request(method, path, body, signal) {
  let response = await send(method, path, body, signal);
  if (response.status === 401) {
    // The server has forgotten this browser; its page gives it a new cookie.
    await send("GET", "./");
    response = await send(method, path, body, signal);
  }
  if (response.ok) return response;
  const data = await response.json().catch(() => ({}));
  throw new PageError(response.status, data.error, Number(response.headers.get("retry-after")) || null);
}

export async function call(method, path, body) {
  return (await request(method, path, body)).json();
}

/** Yield the events of a tale as `[type, data]`. */
export async function* tell(wish, signal) {
  const response = await request("POST", "page/tales", wish, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    let chunk;
    try {
      chunk = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new PageError(0);
    }
    if (chunk.done) return;
    buffer += chunk.value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split("\n").filter((line) => line && !line.startsWith(":")).map((line) => {
          const colon = line.indexOf(": ");
          return [line.slice(0, colon), line.slice(colon + 2)];
        }),
      );
      if (fields.data) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
