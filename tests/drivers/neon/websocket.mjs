// Neon's serverless driver over WebSocket: `node websocket.mjs PACKAGE`, with the startup, the password and the first
// query sent at once, as it does by default, and then one after the other. Reads HTTP_ADDRESS PGDATABASE ALICE BOB EXPIRED.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { check, ELSEWHERE, failure, load, NEWEST, url } from './driver.mjs'

const name = process.argv[2]
const { Client, Pool, neonConfig } = await load(name)
const { ALICE, BOB, EXPIRED, HTTP_ADDRESS } = process.env
const ALICES = url('authenticated', ALICE)
const ME = 'SELECT auth.user_id() AS me'

for (const pipelineConnect of ['password', false]) {
  neonConfig.pipelineConnect = pipelineConnect
  console.log(`pipelineConnect: ${pipelineConnect}`)
  await check({ ...logins(), ...queries(), ...transactions(), ...sessions() })
}
console.log(`ok websocket ${name}`)

// A client for as long as `use` needs it.
async function withClient(use, config = ALICES) {
  const client = new Client(config)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

function whoIs(config) {
  return withClient(async (client) => (await client.query(ME)).rows, config)
}

function logins() {
  return {
    'a token in the connection string': async () => assert.deepEqual(await whoIs(ALICES), [{ me: 'alice' }]),
    'a token as password, and a function that is asked for it': async () => {
      // Where it sends all at once, 0.10 sends the query before a function has answered, which no server can mend.
      const waits = name === NEWEST || !neonConfig.pipelineConnect
      for (const password of waits ? [ALICE, () => ALICE, async () => ALICE] : [ALICE]) {
        const config = { host: ELSEWHERE, user: 'authenticated', database: process.env.PGDATABASE, password }
        assert.deepEqual(await whoIs(config), [{ me: 'alice' }])
      }
    },
    'a connection string as Neon has them': async () => {
      assert.deepEqual(await whoIs(`${ALICES}?sslmode=require&channel_binding=require`), [{ me: 'alice' }])
    },
    'a function that says where the proxy is': async () => {
      const before = neonConfig.wsProxy
      const asked = []
      neonConfig.wsProxy = (host) => {
        asked.push(host)
        return `${HTTP_ADDRESS}/any/path?host=${host}`
      }
      assert.deepEqual(await whoIs(ALICES), [{ me: 'alice' }])
      assert.deepEqual(asked, [ELSEWHERE])
      neonConfig.wsProxy = before
    },
    'anonymous': async () => {
      assert.deepEqual(await whoIs(url('anonymous', 'nothing')), [{ me: null }])
    },
    'a token that is refused': async () => {
      for (const bad of ['nonsense', EXPIRED]) await refused(url('authenticated', bad), '28P01')
      await refused(url('postgres', ALICE), '28000')
      await refused(url('authenticated', ALICE, 'nowhere'), '3D000')
    },
    'a Pool whose logins are refused': async () => {
      const pool = new Pool({ connectionString: url('authenticated', 'nonsense') })
      for (let turn = 0; turn < 3; turn++) assert.equal((await failure(pool.query(ME))).code, '28P01')
      await pool.end()
    },
  }
}

// A pipelined login is over before the answer is there, so the refusal comes as an event.
async function refused(config, code) {
  const client = new Client(config)
  const events = once(client, 'error').then(([error]) => error)
  const error = await Promise.race([failure(client.connect().then(() => client.query(ME))), events])
  assert.equal(error.code, code)
}

function queries() {
  return {
    'parameters, rows as arrays, fields': async () => {
      await withClient(async (client) => {
        const { rows, fields, command, rowCount } = await client.query({
          text: 'SELECT $1::int AS a, $2::text AS b', values: [1, null], rowMode: 'array',
        })
        assert.deepEqual([rows, command, rowCount], [[[1, null]], 'SELECT', 1])
        assert.deepEqual(fields.map(({ name, dataTypeID }) => [name, dataTypeID]), [['a', 23], ['b', 25]])
      })
    },
    'prepared statements with a name': async () => {
      await withClient(async (client) => {
        for (let number = 0; number < 3; number++) {
          const query = { name: 'next', text: 'SELECT $1::int + 1 AS next', values: [number] }
          assert.deepEqual((await client.query(query)).rows, [{ next: number + 1 }])
        }
      })
    },
    'several statements in one query': async () => {
      await withClient(async (client) => {
        const results = await client.query("SELECT 1 AS one; SELECT 'two' AS two")
        assert.deepEqual(results.map(({ rows }) => rows), [[{ one: 1 }], [{ two: 'two' }]])
      })
    },
    'a hundred queries in flight': async () => {
      await withClient(async (client) => {
        const asked = Array.from({ length: 100 }, (_, number) => client.query('SELECT $1::int AS number', [number]))
        const told = await Promise.all(asked)
        assert.deepEqual(told.map(({ rows }) => rows[0].number), Array.from({ length: 100 }, (_, number) => number))
      })
    },
    'a megabyte there and back': async () => {
      await withClient(async (client) => {
        const big = 'ü"\\\n'.repeat(200_000)
        const { rows } = await client.query('SELECT $1::text AS big', [big])
        assert.ok(rows[0].big === big)
      })
    },
    'ten megabytes of rows': async () => {
      await withClient(async (client) => {
        const { rows } = await client.query("SELECT n, repeat('x', 1000) AS x FROM generate_series(1, 10000) AS n")
        assert.ok(rows.length === 10_000 && rows.every(({ n, x }, index) => n === index + 1 && x.length === 1000))
      })
    },
    'an error, and the next query': async () => {
      await withClient(async (client) => {
        const error = await failure(client.query('SELECT $1::int FRM todos', [1]))
        assert.deepEqual([error.code, error.position, error.severity], ['42601', '20', 'ERROR'])
        assert.deepEqual((await client.query(ME)).rows, [{ me: 'alice' }])
      })
    },
  }
}

function transactions() {
  const count = async (client) => Number((await client.query('SELECT count(*) FROM todos')).rows[0].count)
  const insert = (client) => client.query('INSERT INTO todos (task) VALUES ($1) RETURNING id', ['by WebSocket'])
  return {
    'one that is committed, and one that is not': async () => {
      await withClient(async (client) => {
        const before = await count(client)
        for (const [end, more] of [['COMMIT', 1], ['ROLLBACK', 1]]) {
          await client.query('BEGIN')
          await insert(client)
          assert.equal(await count(client), before + more + (end === 'ROLLBACK' ? 1 : 0))
          await client.query(end)
          assert.equal(await count(client), before + more)
        }
        await client.query("DELETE FROM todos WHERE task = 'by WebSocket'")
      })
    },
    'an error within one': async () => {
      await withClient(async (client) => {
        const before = await count(client)
        await client.query('BEGIN')
        await insert(client)
        const foreign = client.query("INSERT INTO todos (user_id, task) VALUES ('bob', 'x')")
        assert.equal((await failure(foreign)).code, '42501')
        assert.equal((await failure(client.query('SELECT 1'))).code, '25P02')
        await client.query('ROLLBACK')
        assert.equal(await count(client), before)
      })
    },
    'savepoints': async () => {
      await withClient(async (client) => {
        const before = await count(client)
        await client.query('BEGIN; SAVEPOINT here')
        await insert(client)
        await client.query('ROLLBACK TO here')
        assert.equal(await count(client), before)
        await client.query('ROLLBACK')
      })
    },
    'of two users at once, each in a Pool': async () => {
      const pools = [[new Pool({ connectionString: ALICES }), 'alice']]
      pools.push([new Pool({ connectionString: url('authenticated', BOB) }), 'bob'])
      await Promise.all(pools.flatMap((pool) => Array.from({ length: 5 }, () => transact(...pool))))
      for (const [pool] of pools) await pool.end()
    },
  }
}

async function transact(pool, me) {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query("INSERT INTO todos (task) VALUES ('in a pool')")
    const { rows } = await client.query('SELECT DISTINCT user_id FROM todos')
    assert.deepEqual(rows, [{ user_id: me }])
    await client.query('ROLLBACK')
  } finally {
    client.release()
  }
}

function sessions() {
  return {
    'LISTEN and NOTIFY': async () => {
      await withClient(async (listener) => {
        await listener.query('LISTEN doors')
        const heard = once(listener, 'notification')
        await withClient((client) => client.query("SELECT pg_notify('doors', 'open')"), url('authenticated', BOB))
        const [{ channel, payload }] = await heard
        assert.deepEqual([channel, payload], ['doors', 'open'])
      })
    },
    'notices': async () => {
      await withClient(async (client) => {
        const noticed = once(client, 'notice')
        await client.query("DO $$ BEGIN RAISE NOTICE 'curtain'; END $$")
        assert.equal((await noticed)[0].message, 'curtain')
      })
    },
    'a query is cancelled': async () => {
      await withClient(async (client) => {
        // The notice tells that the statement is running, so the request cannot be early.
        client.once('notice', () => new Client(ALICES).cancel(client, client.activeQuery))
        const nap = client.query("DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(60); END $$")
        assert.equal((await failure(nap)).code, '57014')
        assert.deepEqual((await client.query(ME)).rows, [{ me: 'alice' }])
      })
    },
    'settings and temporary tables stay': async () => {
      await withClient(async (client) => {
        await client.query("SET TIME ZONE 'Asia/Tokyo'")
        await client.query('CREATE TEMPORARY TABLE pocket (number int)')
        await client.query('INSERT INTO pocket VALUES (7)')
        const { rows } = await client.query("SELECT number, current_setting('TimeZone') AS zone FROM pocket")
        assert.deepEqual(rows, [{ number: 7, zone: 'Asia/Tokyo' }])
      })
    },
    'a client that is ended leaves a Pool that goes on': async () => {
      const pool = new Pool({ connectionString: ALICES, max: 1 })
      const client = await pool.connect()
      client.release(true)
      assert.deepEqual((await pool.query(ME)).rows, [{ me: 'alice' }])
      await pool.end()
    },
  }
}
