// Every common type, read and written in each way there is: Neon's driver over HTTP and WebSocket, in its newest version
// and the older one, node-postgres over TCP, and node-postgres past the proxy, which the others have to equal.
// Reads HTTP_ADDRESS PGHOST PGPORT PGDATABASE ALICE OWNER_URL; makes a table in that database.

import assert from 'node:assert/strict'
import { inspect, isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { check, load, NEWEST, OLDER, url } from './driver.mjs'
import { arrays, moments, numbers, others, texts, written } from './values.mjs'

// For `raw`: what no parser has touched.
const RAW = { types: { getTypeParser: () => (text) => text } }
const TOKEN = process.env.ALICE
const owner = new pg.Client(process.env.OWNER_URL)
await owner.connect()

const kinds = { ...numbers, ...texts, ...moments, ...others, ...arrays }
await createTypes()
for (const [type, probe] of [['xml', "SELECT '<a/>'::xml"], ['hstore', 'CREATE EXTENSION IF NOT EXISTS hstore']]) {
  if (!(await isThere(probe))) delete kinds[type]
}
await createTable()
const { ways, close } = await everyWay()

await check({
  'rows as objects': () => equal((ask) => ask('SELECT * FROM kinds ORDER BY row')),
  'rows as arrays': () => equal((ask) => ask('SELECT * FROM kinds ORDER BY row', [], { arrayMode: true })),
  'the very text that Postgres sent': () => equal((ask) => ask('SELECT * FROM kinds ORDER BY row', [], { raw: true })),
  'the fields, commands and counts': async () => {
    const [name] = columns().at(-1)
    for (const text of [
      'SELECT * FROM kinds',
      'SELECT 1 AS a, NULL AS b, kinds.* FROM kinds WHERE false',
      `INSERT INTO kinds (row) VALUES (-1), (-1) RETURNING row, ${name}`,
      'INSERT INTO kinds (row) SELECT 1 WHERE false',
      'VALUES (1), (2)',
      'SHOW server_version_num',
      'BEGIN ISOLATION LEVEL SERIALIZABLE',
      'ROLLBACK',
    ]) {
      await equal((ask) => ask(text, [], { about: true }), `of ${text}`)
    }
    await owner.query('DELETE FROM kinds WHERE row = -1')
  },
  'one value, and one row of none': async () => {
    await equal((ask) => ask('SELECT 1'))
    await equal((ask) => ask('SELECT FROM kinds'))
    await equal((ask) => ask('SELECT * FROM kinds WHERE false'))
  },
  'many columns, of which some have the same name': async () => {
    const many = Array.from({ length: 1600 }, (_, index) => `${index} AS c${index % 1500}`)
    await equal((ask) => ask(`SELECT ${many}`))
    await equal((ask) => ask(`SELECT ${many}`, [], { arrayMode: true }))
  },
  'parameters': async () => {
    for (const [type, values] of Object.entries(written)) {
      if (!(type in kinds)) continue
      for (const value of values) {
        const select = `SELECT $1::${type} AS value, $1::${type}::text AS text`
        await equal((ask) => ask(select, [value]), `of ${inspect(value)} as ${type}`)
      }
    }
  },
  'parameters whose type the statement tells': async () => {
    const [names, values] = [[], []]
    for (const [name, type] of columns()) {
      if (!(type in written)) continue
      names.push(name)
      values.push(written[type][0])
    }
    const places = values.map((_, index) => `$${index + 1}`)
    const insert = `INSERT INTO kinds (row, ${names}) VALUES (-1, ${places}) RETURNING ${names}`
    await equal((ask) => ask(insert, values))
    await owner.query('DELETE FROM kinds WHERE row = -1')
  },
})
await close()
console.log('ok types')

// That each way answers as node-postgres does when it asks Postgres itself.
async function equal(asks, about = '') {
  const wanted = plain(await asks(overTcp(owner)))
  for (const [way, ask] of Object.entries(ways)) {
    const told = plain(await asks(ask))
    assert.equal(told.length, wanted.length, way)
    wanted.forEach((row, index) => {
      assert.deepEqual(Object.keys(told[index]), Object.keys(row), way)
      for (const name of Object.keys(row)) {
        const [is, ought] = [told[index][name], row[name]]
        if (!isDeepStrictEqual(is, ought)) {
          assert.fail(`${way}, ${name} of row ${index}: ${inspect(is)}, not ${inspect(ought)} ${about}`)
        }
      }
    })
  }
}

// Each driver brings classes of its own: what is compared is what is in them.
function plain(value) {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') }
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Date) return { moment: value.getTime() }
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, value]) => [key, plain(value)]))
}

async function everyWay() {
  const config = { user: 'authenticated', password: TOKEN }
  const clients = [new pg.Client(config)]
  const ways = { TCP: overTcp(clients[0]) }
  for (const name of [NEWEST, OLDER]) {
    const { neon, Client } = await load(name)
    ways[`HTTP, ${name}`] = overHttp(neon(url(), { authToken: TOKEN }))
    clients.push(new Client(url('authenticated', TOKEN)))
    ways[`WebSocket, ${name}`] = overTcp(clients.at(-1))
  }
  for (const client of clients) await client.connect()
  const close = async () => {
    for (const client of [...clients, owner]) await client.end()
  }
  return { ways, close }
}

// Options of both: rows as arrays, parsed by nobody, and a row with what is said of the rows in their place.
function overHttp(sql) {
  const query = sql.query ?? sql
  return async (text, values = [], { arrayMode = false, raw = false, about = false } = {}) => {
    const result = await query(text, values, { arrayMode, fullResults: true, ...(raw ? RAW : {}) })
    return about ? [saidOf(result)] : result.rows
  }
}

function overTcp(client) {
  return async (text, values = [], { arrayMode = false, raw = false, about = false } = {}) => {
    const result = await client.query({ text, values, ...(arrayMode ? { rowMode: 'array' } : {}), ...(raw ? RAW : {}) })
    return about ? [saidOf(result)] : result.rows
  }
}

function saidOf({ fields, command, rowCount, rows }) {
  return { fields, command, rowCount, rows: rows.length }
}

function columns() {
  return Object.keys(kinds).map((type) => [pg.escapeIdentifier(type), type])
}

async function createTypes() {
  await owner.query(`
    DROP TABLE IF EXISTS kinds;
    DROP TYPE IF EXISTS mood, seat;
    DROP DOMAIN IF EXISTS positive;
    CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'glücklich');
    CREATE TYPE seat AS ("row" text, number int, price numeric, taken bool);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    GRANT USAGE ON SCHEMA public TO authenticated`)
}

// A row for each set of values: where a type has fewer of them, it has null.
async function createTable() {
  const names = columns()
  await owner.query(`CREATE TABLE kinds (row int, ${names.map(([name, type]) => `${name} ${type}`)})`)
  const most = Math.max(...Object.values(kinds).map((literals) => literals.length))
  for (let row = 0; row <= most; row++) {
    const literals = names.map(([, type]) => kinds[type][row] ?? null)
    const places = literals.map((_, index) => `$${index + 1}`)
    await owner.query(`INSERT INTO kinds VALUES (${row}, ${places})`, literals)
  }
  await owner.query('GRANT SELECT, INSERT ON kinds TO authenticated')
}

async function isThere(probe) {
  return owner.query(probe).then(() => true, () => false)
}
