// node-postgres, with pg-copy-streams for COPY.
// Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB; the driver takes the first four by itself.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import copy from 'pg-copy-streams'

const { SUB, TOKEN } = process.env
const NAP = "DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(60); END $$"

// A driver calls an async password function at each login, as an application with fresh tokens would.
const settings = { password: async () => TOKEN }
const client = new pg.Client(settings)

await client.connect()
await seesOnlyItsOwnRows()
await runsATransaction()
await isRefusedARowOfAnother()
await cancelsAQuery()
await copiesOut()
await copiesIn()
await seesOnlyItsOwnRows()
await client.end()
console.log('ok node-postgres')

async function seesOnlyItsOwnRows() {
  for (let turn = 0; turn < 2; turn++) {
    const { rows } = await client.query({
      name: 'owners',
      text: 'SELECT DISTINCT user_id FROM todos WHERE id > $1',
      values: [0],
    })
    assert.deepEqual(rows, [{ user_id: SUB }])
  }
}

async function runsATransaction() {
  const before = await count()
  await client.query('BEGIN')
  await client.query('INSERT INTO todos (task) VALUES ($1)', ['node-postgres'])
  assert.equal(await count(), before + 1n)
  await client.query('ROLLBACK')
  assert.equal(await count(), before)
}

async function isRefusedARowOfAnother() {
  await assert.rejects(
    client.query("INSERT INTO todos (user_id, task) VALUES ('somebody else', 'node-postgres')"),
    { code: '42501' },
  )
}

// The notice tells that the statement is running, so the cancel request cannot be early.
async function cancelsAQuery() {
  const nap = client.query(new pg.Query(NAP))
  client.once('notice', () => new pg.Client(settings).cancel(client, nap))
  await assert.rejects(once(nap, 'end'), { code: '57014' })
}

async function copiesOut() {
  const out = await text(client.query(copy.to('COPY todos (user_id) TO STDOUT')))
  assert.deepEqual(new Set(out.trimEnd().split('\n')), new Set([SUB]))
}

async function copiesIn() {
  await client.query('CREATE TEMPORARY TABLE pocket (number int)')
  const lines = Array.from({ length: 10_000 }, (_, number) => `${number}\n`)
  await pipeline(Readable.from(lines), client.query(copy.from('COPY pocket FROM STDIN')))
  const { rows } = await client.query('SELECT count(DISTINCT number) FROM pocket')
  assert.deepEqual(rows, [{ count: '10000' }])
}

async function count() {
  const { rows } = await client.query('SELECT count(*) FROM todos')
  return BigInt(rows[0].count)
}
