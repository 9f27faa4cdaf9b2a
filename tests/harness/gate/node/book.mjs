// node book.mjs DRIVER URL BOOKING: books a seat; prints 'booked', the SQLSTATE, or 'lost'.

import pg from "pg";
import postgres from "postgres";

const READ = "SELECT taken, version FROM seat WHERE id = ";
const UPDATE = "UPDATE seat SET taken = taken + 1, version = version + 1 WHERE version = ";
const INSERT = "INSERT INTO booking VALUES (";

const drivers = {
  async pg(url, booking) {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {}); // the query under way tells
    await client.connect();
    try {
      await client.query("BEGIN");
      const { rows } = await client.query(READ + "$1", [1]);
      await client.query(UPDATE + "$1", [rows[0].version]);
      await client.query(INSERT + "$1, $2)", [booking, 1]);
      await client.query("COMMIT");
    } finally {
      client.connection.stream.destroy();
    }
  },

  async postgres(url, booking) {
    const sql = postgres(url, { max: 1 });
    try {
      await sql.begin(async (sql) => {
        const [row] = await sql.unsafe(READ + "$1", [1]);
        await sql.unsafe(UPDATE + "$1", [row.version]);
        await sql.unsafe(INSERT + "$1, $2)", [booking, 1]);
      });
    } finally {
      await sql.end({ timeout: 0 });
    }
  },
};

const [driver, url, booking] = process.argv.slice(2);
try {
  await drivers[driver](url, booking);
  console.log("booked");
} catch (error) {
  console.log(/^[0-9A-Z]{5}$/.test(error.code ?? "") && error.code !== "EPIPE" ? error.code : "lost");
}
process.exit();
