// postgres.js, which prepares every query and pipelines by itself.
// Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB; the driver takes the first four by itself.

import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import postgres from 'postgres'

const { SUB, TOKEN } = process.env
let noticed = () => {}
const sql = postgres({ max: 1, password: async () => TOKEN, onnotice: () => noticed() })

await seesOnlyItsOwnRows()
await runsATransaction()
await isRefusedARowOfAnother()
await cancelsAQuery()
await copiesOut()
await copiesIn()
await seesOnlyItsOwnRows()
await sql.end()
console.log('ok postgres.js')

// The driver pipelines the two as soon as it knows the statement.
async function seesOnlyItsOwnRows() {
  const owners = () => sql`SELECT DISTINCT user_id FROM todos WHERE id > ${0}`
  for (const rows of await Promise.all([owners(), owners()])) {
    assert.deepEqual([...rows], [{ user_id: SUB }])
  }
}

async function runsATransaction() {
  const rollback = new Error('roll back')
  const before = await count(sql)
  const transaction = sql.begin(async (tx) => {
    await tx`INSERT INTO todos (task) VALUES (${'postgres.js'})`
    assert.equal(await count(tx), before + 1n)
    throw rollback
  })
  await assert.rejects(transaction, rollback)
  assert.equal(await count(sql), before)
}

async function isRefusedARowOfAnother() {
  await assert.rejects(
    sql`INSERT INTO todos (user_id, task) VALUES ('somebody else', 'postgres.js')`,
    { code: '42501' },
  )
}

// The notice tells that the statement is running, so the cancel request cannot be early.
async function cancelsAQuery() {
  const nap = sql`DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(60); END $$`
  noticed = () => nap.cancel()
  await assert.rejects(nap, { code: '57014' })
  noticed = () => {}
}

async function copiesOut() {
  const out = await text(await sql`COPY todos (user_id) TO STDOUT`.readable())
  assert.deepEqual(new Set(out.trimEnd().split('\n')), new Set([SUB]))
}

async function copiesIn() {
  const numbers = Array.from({ length: 10_000 }, (_, number) => `${number}\n`)
  await sql`CREATE TEMPORARY TABLE pocket (number int)`
  await pipeline(Readable.from(numbers), await sql`COPY pocket FROM STDIN`.writable())
  const [{ count }] = await sql`SELECT count(DISTINCT number) FROM pocket`
  assert.equal(count, '10000')
}

async function count(sql) {
  const [{ count }] = await sql`SELECT count(*) FROM todos`
  return BigInt(count)
}
