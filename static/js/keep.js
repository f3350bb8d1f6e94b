// What must survive a reload: sends that the server does not have yet, and drafts. One IndexedDB for all who use this
// browser, each row with its owner. Knows no rooms and no network; where storage is forbidden it keeps nothing.

const NAME = "maru";
const VERSION = 1;

export class Keep {
  #userId;
  #opening;
  #n = 0;
  #isOver = false;

  constructor(userId, factory = globalThis.indexedDB) {
    this.#userId = userId;
    this.#opening = open(factory).catch(() => null);
  }

  /** All of this user's rows: {sends: in the order of their making, drafts: Map of room id -> {text, replyTo}}. */
  async load() {
    const sends = await this.#all("sends");
    const drafts = await this.#all("drafts");
    sends.sort((a, b) => a.at.localeCompare(b.at) || a.n - b.n);
    return { sends, drafts: new Map(drafts.map(({ roomId, text, replyTo }) => [roomId, { text, replyTo }])) };
  }

  /** send: {roomId, clientId, text, replyTo, at, state, error}. Again with the same clientId: as it is now. */
  putSend(send) {
    return this.#write("sends", (rows) => rows.put({ n: this.#n++, ...send, userId: this.#userId }));
  }

  dropSend(clientId) {
    return this.#write("sends", (rows) => rows.delete([this.#userId, clientId]));
  }

  /** An empty draft is none. */
  putDraft(roomId, { text, replyTo }) {
    const key = [this.#userId, roomId];
    return this.#write("drafts", (rows) =>
      text || replyTo ? rows.put({ userId: this.#userId, roomId, text, replyTo }) : rows.delete(key),
    );
  }

  /** Nothing of this user stays in this browser, and nothing more is kept: the page that leaves would keep its draft. */
  async forget() {
    this.#isOver = true;
    for (const name of ["sends", "drafts"]) await this.#change(name, (rows) => rows.delete(this.#mine()));
  }

  async #all(name) {
    const base = await this.#opening;
    if (!base) return [];
    return new Promise((resolve) => {
      const asked = base.transaction(name).objectStore(name).getAll(this.#mine());
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => resolve([]);
    });
  }

  #write(name, work) {
    return this.#isOver ? Promise.resolve() : this.#change(name, work);
  }

  async #change(name, work) {
    const base = await this.#opening;
    if (!base) return;
    await new Promise((resolve) => {
      const turn = base.transaction(name, "readwrite");
      turn.oncomplete = turn.onabort = resolve; // a full disk: the page goes on, only a reload would lose it
      work(turn.objectStore(name));
      turn.commit();
    });
  }

  #mine() {
    return IDBKeyRange.bound([this.#userId], [this.#userId, []]); // arrays sort behind all strings
  }
}

function open(factory) {
  return new Promise((resolve, reject) => {
    const asked = factory.open(NAME, VERSION);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("sends", { keyPath: ["userId", "clientId"] });
      asked.result.createObjectStore("drafts", { keyPath: ["userId", "roomId"] });
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}
