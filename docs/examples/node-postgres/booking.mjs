// Contested booking with node-postgres: lock the event's row, add up its bookings, insert, commit.

import pg from "pg";

pg.types.setTypeParser(pg.types.builtins.INT8, Number);

export const audit = {
  bookings: "SELECT id, units FROM booking WHERE event = $1",
  booked: null, // there is no counter beside the rows
};

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS event (
    id text PRIMARY KEY,
    capacity bigint NOT NULL
  );
  CREATE TABLE IF NOT EXISTS booking (
    id text PRIMARY KEY,
    event text NOT NULL REFERENCES event,
    units bigint NOT NULL CHECK (units > 0)
  );
  CREATE INDEX IF NOT EXISTS booking_by_event ON booking (event)`;

// Whoever holds this lock is alone with the event until his transaction ends.
const LOCK = "SELECT capacity FROM event WHERE id = $1 FOR NO KEY UPDATE";
// A statement of its own: its snapshot is taken when the lock is held, and not before.
const BOOKED = "SELECT coalesce(sum(units), 0)::bigint AS units FROM booking WHERE event = $1";
const OWN = "SELECT event, units FROM booking WHERE id = $1";
const INSERT = "INSERT INTO booking (id, event, units) VALUES ($1, $2, $3)";

const TAKEN = "23505"; // unique violation
const CONFLICTS = new Set(["40001", "40P01", "55P03"]);
const MISTAKES = new Set(["22", "23", "42"]); // classes of errors that the program is to blame for

class NotCommitted extends Error {}
class Mistake extends Error {}

export async function prepare(dsn) {
  await once(dsn, (client) => client.query(SCHEMA));
}

export async function declare(dsn, resourceId, capacity) {
  const insert = "INSERT INTO event (id, capacity) VALUES ($1, $2)";
  await once(dsn, (client) => client.query(insert, [resourceId, capacity]));
}

async function once(dsn, use) {
  const client = new pg.Client({ connectionString: dsn });
  await client.connect();
  await use(client);
  await client.end();
}

/** A connection; it knows whether the server has said its last word on a query. */
class Session {
  #client;
  #connected = null;
  #settled = Promise.resolve();
  #settle = () => {};
  alive = true;

  constructor(dsn) {
    this.#client = new pg.Client({ connectionString: dsn });
    this.#client.on("drain", () => this.#settle()); // ReadyForQuery, and nothing waits
    this.#client.on("end", () => this.#ended());
    this.#client.on("error", () => this.#ended()); // it was lost while nobody asked anything
  }

  /** Connects at the first call. */
  async connected() {
    this.#connected ??= this.#client.connect();
    try {
      await this.#connected;
    } catch (error) {
      this.drop();
      throw error;
    }
  }

  query(sql, values) {
    this.#settled = new Promise((settle) => (this.#settle = settle));
    return this.#client.query(sql, values);
  }

  async rows(sql, values) {
    return (await this.query(sql, values)).rows;
  }

  async commit(progress) {
    if (!this.alive) throw new Error("the connection was lost before COMMIT could be sent");
    progress.committing = true;
    const { command } = await this.query("COMMIT");
    progress.committing = false;
    if (command !== "COMMIT") throw new NotCommitted(`COMMIT was answered ${command}`);
  }

  /** End the transaction; where that fails, end the connection. All is decided by then. */
  async rollBack() {
    try {
      await this.query("ROLLBACK");
    } catch {
      this.drop();
    }
  }

  /** An error arrives before ReadyForQuery: only the latter proves that the session lives on. */
  async survives() {
    await this.#settled;
    return this.alive;
  }

  /** End it without a word: end() would wait for the server. */
  drop() {
    this.alive = false;
    this.#client.connection.stream.destroy();
  }

  #ended() {
    this.alive = false;
    this.#settle();
  }
}

/** A caller's way to book: one connection, made when it is needed. */
export class Booking {
  #dsn;
  #milliseconds;
  #session = null;

  constructor(dsn, milliseconds) {
    this.#dsn = dsn;
    this.#milliseconds = milliseconds;
  }

  /** One attempt; throws what is a mistake of the program's. */
  async attempt(id, event, units) {
    const progress = { answer: null, committing: false };
    let timer;
    // One deadline for everything: those of the driver are for connecting, and for each query.
    const late = new Promise((resolve) => {
      timer = setTimeout(() => {
        this.close();
        resolve(infrastructure(progress, "the deadline has passed"));
      }, this.#milliseconds);
    });
    try {
      return await Promise.race([this.#run({ id, event, units }, progress), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  close() {
    this.#session?.drop();
    this.#session = null;
  }

  async #run(request, progress) {
    if (!this.#session?.alive) this.#session = new Session(this.#dsn);
    const session = this.#session;
    try {
      await session.connected();
      return await book(session, request, progress);
    } catch (error) {
      return await explain(error, session, request, progress);
    }
  }
}

async function book(session, { id, event, units }, progress) {
  await session.query("BEGIN");
  const [resource] = await session.rows(LOCK, [event]);
  if (!resource) throw new Mistake(`there is no event ${event}`);
  const [own] = await session.rows(OWN, [id]);
  if (own) return await repeated(session, own, { id, event, units }, progress);
  const [booked] = await session.rows(BOOKED, [event]);
  if (booked.units + units > resource.capacity) {
    progress.answer = { outcome: "REJECTED" };
    await session.rollBack();
    return progress.answer;
  }
  await session.query(INSERT, [id, event, units]);
  await session.commit(progress);
  return { outcome: "BOOKED" };
}

/** The id is booked: as it is asked for now, or otherwise. */
async function repeated(session, own, { id, event, units }, progress) {
  if (own.event !== event || own.units !== units) {
    throw new Mistake(`${id} is booked as ${own.units} of ${own.event}`);
  }
  progress.answer = { outcome: "BOOKED" };
  await session.rollBack();
  return progress.answer;
}

async function explain(error, session, request, progress) {
  if (error instanceof Mistake) {
    await session.rollBack();
    throw error;
  }
  if (await session.survives()) {
    progress.committing = false; // an ERROR, and then ReadyForQuery: it was not committed
  } else {
    session.drop();
    return infrastructure(progress, error.message);
  }
  if (error.code === TAKEN) return await whose(session, request, progress);
  await session.rollBack();
  if (CONFLICTS.has(error.code)) return conflict(error.message);
  if (MISTAKES.has(error.code?.slice(0, 2))) throw error;
  session.drop(); // whatever is wrong with it, the next attempt does not inherit it
  return infrastructure(progress, error.message);
}

/** The id was taken by somebody whom the lock did not keep out: on another event, that is. */
async function whose(session, request, progress) {
  try {
    await session.query("ROLLBACK");
    const [own] = await session.rows(OWN, [request.id]);
    if (own) return await repeated(session, own, request, progress);
    return conflict("the id was taken, and is free again");
  } catch (error) {
    if (error instanceof Mistake) throw error;
    session.drop();
    return infrastructure(progress, error.message);
  }
}

function conflict(detail) {
  return { outcome: "FAILED", cause: "CONFLICT", detail };
}

/** The environment failed; what was decided before stays. */
function infrastructure({ answer, committing }, detail) {
  return answer ?? { outcome: "FAILED", cause: "INFRASTRUCTURE", in_doubt: committing, detail };
}
