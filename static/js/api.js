// REST with the page's own cookie. A problem document becomes an ApiError; no answer at all, one with code "network".

export class ApiError extends Error {
  constructor({ code, detail, status = 0, field, retryAfterMs }) {
    super(detail ?? code);
    Object.assign(this, { code, status, field, retryAfterMs });
  }
}

async function call(method, path, body) {
  const options = { method, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer, data;
  try {
    answer = await fetch(path, options);
    data = answer.status === 204 ? null : await answer.json();
  } catch {
    throw new ApiError({ code: "network" });
  }
  if (!answer.ok) throw new ApiError({ status: answer.status, ...data });
  return data;
}

/** All items of a list, page by page. */
async function all(path) {
  const items = [];
  let cursor = "";
  do {
    const page = await call("GET", `${path}?limit=200&cursor=${encodeURIComponent(cursor)}`);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return items;
}

export const api = {
  get: (path) => call("GET", path),
  post: (path, body = {}) => call("POST", path, body),
  patch: (path, body) => call("PATCH", path, body),
  delete: (path, body) => call("DELETE", path, body),
  all,
};
