// Adapter protocol 1: one JSON object a line in, one out; see docs/adapters.md.

import { createInterface } from "node:readline";

import { Booking, audit, declare, prepare } from "./booking.mjs";

let booking = null;

const commands = {
  start: () => ({
    implementation: { name: "node-postgres", language: "JavaScript", version: process.version },
    mechanism: "lock the row, add up its bookings",
    audit,
  }),
  prepare: ({ dsn }) => prepare(dsn),
  declare: ({ dsn, resource_id, capacity }) => declare(dsn, resource_id, capacity),
  connect: ({ dsn, deadline_ms }) => {
    booking?.close();
    booking = new Booking(dsn, deadline_ms);
  },
  stop: () => booking?.close(),
};

async function reply(request) {
  if (request.cmd === "attempt") {
    try {
      const { booking_id, resource_id, requested_units } = request;
      return { result: await booking.attempt(booking_id, resource_id, requested_units) };
    } catch (error) {
      return { raised: { message: String(error), in_doubt: false } };
    }
  }
  try {
    return { result: (await commands[request.cmd](request)) ?? {} };
  } catch (error) {
    return { errored: { message: `${request.cmd}: ${error}` } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  process.stdout.write(JSON.stringify({ seq: request.seq, ...(await reply(request)) }) + "\n");
  if (request.cmd === "stop") process.exit();
}
