// Consumes the vectors of `lastseat vectors DIR` without any dependency, as an implementation in
// another language would: node consumer.mjs DIR [BROKEN]
//
// The implementation under test is a toy: resources in memory, an optimistic version check, and a
// commit that can be held, lost or cut off from its answer. BROKEN names a fault to build into it.
// Prints one line of JSON; the exit code is 1 if any vector was refused.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const [folder, broken = ""] = process.argv.slice(2);

const BOOKED = { outcome: "BOOKED" };
const REJECTED = { outcome: "REJECTED" };
const CONFLICT = { outcome: "FAILED", cause: "CONFLICT", in_doubt: false };
const INFRASTRUCTURE = { outcome: "FAILED", cause: "INFRASTRUCTURE", in_doubt: false };
const IN_DOUBT = { outcome: "FAILED", cause: "INFRASTRUCTURE", in_doubt: true };

class ProgrammingError extends Error {}

class Store {
  constructor(resources) {
    this.resources = new Map();
    for (const [name, { capacity, bookings }] of Object.entries(resources)) {
      this.resources.set(name, { capacity, rows: [...bookings], version: 0 });
    }
  }

  resource({ resource_id, requested_units }) {
    if (requested_units < 1) throw new ProgrammingError("fewer than one unit");
    const found = this.resources.get(resource_id);
    if (!found) throw new ProgrammingError(`no resource ${resource_id}`);
    return found;
  }

  /** What a request would be answered now; null if there is room for a new booking. */
  look(request) {
    const resource = this.resource(request);
    for (const [name, { rows }] of this.resources) {
      const held = rows.find(([id]) => id === request.booking_id);
      if (!held) continue;
      if (name === request.resource_id && held[1] === request.requested_units) return BOOKED;
      if (broken === "rebinds") return BOOKED;
      throw new ProgrammingError(`${request.booking_id} is booked otherwise`);
    }
    const booked = resource.rows.reduce((sum, [, units]) => sum + units, 0);
    const room = resource.capacity - booked - (broken === "strict" ? 1 : 0);
    return request.requested_units > room && broken !== "oversells" ? REJECTED : null;
  }

  /** The database's decision, final. `version` is what the attempt has read, if it has. */
  commit(request, version) {
    const resource = this.resource(request);
    const stale = version !== undefined && version !== resource.version;
    if (stale && broken !== "unguarded") return CONFLICT;
    const answer = broken === "unguarded" ? null : this.look(request);
    if (answer) return answer;
    resource.rows.push([request.booking_id, request.requested_units]);
    resource.version += 1;
    return BOOKED;
  }

  bookings() {
    const rows = [...this.resources].map(([name, { rows }]) => [name, [...rows]]);
    return Object.fromEntries(rows);
  }
}

/** One attempt, one step at a time. A step that does not apply to it is passed over. */
class Attempt {
  constructor(store, request) {
    Object.assign(this, { store, request, answer: null, sent: false, inFlight: false });
    Object.assign(this, { lost: false, emitted: false });
  }

  get open() {
    return !this.emitted && !this.lost && !this.answer;
  }

  observe() {
    if (!this.open || this.sent) return;
    this.version = this.store.resource(this.request).version;
    this.answer = this.store.look(this.request);
  }

  persist() {
    if (this.open) this.sent = this.inFlight = true;
  }

  arbitrate() {
    if (!this.open || !this.inFlight) return;
    this.inFlight = false;
    this.answer = this.store.commit(this.request, this.version);
  }

  emit() {
    this.emitted = true;
    if (this.answer) return this.answer;
    if (!this.lost) return null; // it would need further steps: the schedule is not for it
    if (broken === "hopes") return BOOKED;
    return this.sent && broken !== "denies doubt" ? IN_DOUBT : INFRASTRUCTURE;
  }

  "lose-request"() {
    if (!this.open) return;
    this.lost = true;
    this.inFlight = false;
  }

  "lose-answer"() {
    if (this.emitted) return;
    this.lost = true;
    this.answer = null;
  }

  "time-out"() {
    if (this.open) this.lost = true;
  }

  report() {
    if (!this.open) return;
    this.inFlight = false;
    this.answer = broken === "swallows" ? REJECTED : CONFLICT;
  }

  crash() {
    this.inFlight = false;
    if (this.emitted) return;
    this.lost = true;
    this.answer = null;
  }

  "land-late"() {
    if (this.inFlight) this.store.commit(this.request, this.version);
    this.inFlight = false;
  }

  fence() {
    this.inFlight = false;
  }
}

/** Equal as JSON, whatever the order of names and of rows. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).sort()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)}}`;
}

const same = (one, other) => canonical(one) === canonical(other);

function sequential({ resources, steps }) {
  const store = new Store(resources);
  return steps.every(({ request, answer, raises, then }) => {
    let told;
    try {
      told = store.look(request) ?? store.commit(request);
    } catch (error) {
      if (!(error instanceof ProgrammingError)) throw error;
    }
    return (raises ? told === undefined : same(told, answer)) && same(store.bookings(), then);
  });
}

/** Whether the result is legal; null if the toy cannot follow the schedule. */
function script({ resources, schedule, legal, refused, model }) {
  const isLegal = (result) => legal.some((each) => same(each, result));
  const wrong = refused.map(({ answers, final }) => ({ answers, final }));
  if (!isLegal(model) || wrong.some(isLegal)) throw new Error("the vector contradicts itself");

  const store = new Store(resources);
  const attempts = new Map();
  const answers = {};
  for (const { step, attempt, request } of schedule) {
    if (step === "invoke") attempts.set(attempt, new Attempt(store, request));
    else if (step === "crash") attempts.forEach((each) => each.crash());
    else {
      const told = attempts.get(attempt)[step]();
      if (step === "emit") answers[attempt] = told;
    }
  }
  if (Object.values(answers).includes(null)) return null;
  return isLegal({ answers, final: store.bookings() });
}

/** A judge of two rules only: what is booked fits, and what was BOOKED is there. */
function history({ lines, legal }) {
  const [{ resources }, ...events] = lines;
  const asked = new Map();
  const acknowledged = [];
  let convicted = false;
  for (const event of events) {
    if (event.type === "invoke") asked.set(event.attempt, event);
    if (event.type === "emit" && event.outcome === "BOOKED") acknowledged.push(event.attempt);
    if (event.type !== "final") continue;
    const booked = event.bookings.reduce((sum, [, units]) => sum + units, 0);
    convicted ||= booked > resources[event.resource_id].capacity;
    for (const { booking_id, resource_id } of acknowledged.map((name) => asked.get(name))) {
      if (resource_id !== event.resource_id) continue;
      convicted ||= !event.bookings.some(([id]) => id === booking_id);
    }
  }
  summary.convicted += convicted;
  return !(convicted && legal);
}

const summary = { checked: 0, convicted: 0, refused: [], skipped: [] };
for (const [file, check] of Object.entries({ sequential, scripts: script, histories: history })) {
  const { format, vectors } = JSON.parse(readFileSync(join(folder, `${file}.json`), "utf8"));
  if (format !== "lastseat-vectors/1") throw new Error(`unknown format ${format}`);
  for (const vector of vectors) {
    const good = check(vector);
    summary.checked += good !== null;
    if (good === null) summary.skipped.push(vector.id);
    else if (!good) summary.refused.push(vector.id);
  }
}
console.log(JSON.stringify(summary));
process.exitCode = summary.refused.length ? 1 : 0;
