// postgres.js, which prepares a statement anew if its table was altered.
//
// Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN OWNER_URL and OTHER, the token of somebody who takes the one server there is.

import assert from "node:assert/strict"
import postgres from "postgres"

const { TOKEN, OTHER, OWNER_URL } = process.env
const [mine, others] = [TOKEN, OTHER].map((password) => postgres({ password, max: 1 }))
const owner = postgres(OWNER_URL, { max: 1 })

const read = () => mine`SELECT * FROM todos WHERE id > ${0}`
const before = await read()
await others`SELECT 1`
await owner`ALTER TABLE todos ADD more int DEFAULT 7`
assert.deepEqual([...(await read())], before.map((row) => ({ ...row, more: 7 })))
await Promise.all([mine, others, owner].map((session) => session.end()))
console.log("ok postgres.js")
