// A guarded booking with postgres.js behind adapter protocol 1; what fails is not explained here.

import { createInterface } from "node:readline";

import postgres from "postgres";

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS place (
    id text PRIMARY KEY, capacity int NOT NULL, taken int NOT NULL DEFAULT 0);
  CREATE TABLE IF NOT EXISTS claim (
    id text PRIMARY KEY, place text NOT NULL REFERENCES place, units int NOT NULL)`;

let sql;

async function attempt({ booking_id: id, resource_id: place, requested_units: units }) {
  let outcome;
  const full = new Error("full");
  try {
    await sql.begin(async (sql) => {
      const claimed = await sql`
        INSERT INTO claim VALUES (${id}, ${place}, ${units}) ON CONFLICT DO NOTHING`;
      const taken =
        claimed.count &&
        (await sql`
          UPDATE place SET taken = taken + ${units}
           WHERE id = ${place} AND taken + ${units} <= capacity`);
      if (claimed.count && !taken.count) throw full;
      outcome = "BOOKED";
    });
  } catch (error) {
    if (error !== full) throw error;
    outcome = "REJECTED";
  }
  return { outcome };
}

const commands = {
  start: () => ({
    implementation: { name: "postgres.js", language: "JavaScript", version: process.version },
    audit: {
      bookings: "SELECT id, units FROM claim WHERE place = $1",
      booked: "SELECT taken FROM place WHERE id = $1",
    },
  }),
  connect: ({ dsn }) => {
    sql = postgres(dsn, { max: 1, onnotice: () => {} });
  },
  prepare: async ({ dsn }) => {
    commands.connect({ dsn });
    await sql.unsafe(SCHEMA).simple();
  },
  declare: ({ resource_id, capacity }) => sql`INSERT INTO place VALUES (${resource_id}, ${capacity})`,
  attempt,
  stop: () => {},
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let reply;
  try {
    reply = { result: { ...(await commands[request.cmd](request)) } };
  } catch (error) {
    reply = { errored: { message: String(error) } };
  }
  process.stdout.write(JSON.stringify({ seq: request.seq, ...reply }) + "\n");
  if (request.cmd === "stop") process.exit();
}
