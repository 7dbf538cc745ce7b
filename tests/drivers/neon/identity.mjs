// Two users and nobody at once, over HTTP and WebSocket, on a pool of few servers: nobody is shown a row of another.
// Reads HTTP_ADDRESS PGDATABASE ALICE BOB.

import assert from 'node:assert/strict'
import { NEWEST, check, failure, load, url, USERS } from './driver.mjs'

const { neon, Pool } = await load(NEWEST)
const QUERY = 'SELECT auth.user_id() AS me, current_user AS role, array_agg(DISTINCT user_id) AS owners FROM todos'
const ANYBODY = { me: null, role: 'anonymous', owners: null }
const seenBy = (me) => ({ me, role: 'authenticated', owners: [me] })

await check({
  'two hundred requests over HTTP, one of each in turn': async () => {
    const users = Object.entries(USERS).map(([me, authToken]) => [neon(url(), { authToken }), seenBy(me)])
    const all = [...users, [neon(url('anonymous')), ANYBODY]]
    await atOnce(200, all, (sql) => sql.query(QUERY))
  },
  'two hundred transactions over HTTP': async () => {
    const users = Object.entries(USERS).map(([me, authToken]) => [neon(url(), { authToken }), seenBy(me)])
    await atOnce(200, users, async (sql) => {
      const task = `only mine ${Math.random()}`
      const [, rows, removed] = await sql.transaction([
        sql`INSERT INTO todos (task) VALUES (${task})`,
        sql.query(QUERY),
        sql`DELETE FROM todos WHERE task = ${task} RETURNING user_id = auth.user_id() AS mine`,
      ])
      assert.deepEqual(removed, [{ mine: true }])
      return rows
    })
  },
  'two hundred queries of two Pools over WebSocket': async () => {
    const pools = Object.entries(USERS).map(([me, token]) => [
      new Pool({ connectionString: url('authenticated', token), max: 5 }),
      seenBy(me),
    ])
    await atOnce(200, pools, async (pool) => (await pool.query(QUERY)).rows)
    for (const [pool] of pools) await pool.end()
  },
  'both ways at once': async () => {
    const pool = new Pool({ connectionString: url('authenticated', USERS.alice), max: 5 })
    const over = [
      [() => pool.query(QUERY).then(({ rows }) => rows), seenBy('alice')],
      [() => neon(url(), { authToken: USERS.bob }).query(QUERY), seenBy('bob')],
      [() => neon(url('anonymous')).query(QUERY), ANYBODY],
    ]
    await atOnce(150, over, (ask) => ask())
    await pool.end()
  },
  'an error of one is not told to another': async () => {
    const [alice, bob] = Object.values(USERS).map((authToken) => neon(url(), { authToken }))
    const wrong = 'INSERT INTO todos (user_id, task) VALUES ($1, $2)'
    const asked = Array.from({ length: 50 }, async (_, turn) => {
      if (turn % 2) assert.equal((await failure(alice.query(wrong, ['bob', 'x']))).code, '42501')
      else assert.deepEqual(await bob.query(QUERY), [seenBy('bob')])
    })
    await Promise.all(asked)
  },
})
console.log('ok identity')

// Asks that often, of each in turn, and waits for all of it.
async function atOnce(times, who, ask) {
  const asked = Array.from({ length: times }, async (_, turn) => {
    const [asker, expected] = who[turn % who.length]
    assert.deepEqual(await ask(asker), [expected])
  })
  await Promise.all(asked)
}
