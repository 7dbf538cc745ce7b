// Drizzle with Neon's driver, over HTTP and WebSocket, as two users of the tables that drizzle-kit has pushed.
// Run with `node --import tsx drizzle/todos.mjs`. Reads HTTP_ADDRESS PGDATABASE ALICE BOB.

import assert from 'node:assert/strict'
import { desc, eq, sql } from 'drizzle-orm'
import { drizzle as drizzleOverHttp } from 'drizzle-orm/neon-http'
import { drizzle as drizzleOverWebSocket } from 'drizzle-orm/neon-serverless'
import { check, failure, load, NEWEST, url, USERS } from '../neon/driver.mjs'
import { todos } from './schema.ts'

const schema = { todos }
const { neon, Pool } = await load(NEWEST)
const pools = []

for (const [way, connect] of [['HTTP', overHttp], ['WebSocket', overWebSocket]]) {
  const users = Object.entries(USERS).map(([me, token]) => ({ me, db: connect(token) }))
  console.log(way)
  await check(worksFor(users))
  await check(way === 'HTTP' ? batches(users) : transactions(users))
}
for (const pool of pools) await pool.end()
console.log('ok drizzle')

function overHttp(authToken) {
  return drizzleOverHttp(neon(url(), { authToken }), { schema })
}

function overWebSocket(token) {
  const pool = new Pool({ connectionString: url('authenticated', token), max: 3 })
  pools.push(pool)
  return drizzleOverWebSocket(pool, { schema })
}

function worksFor(users) {
  return {
    'rows are whose token it is': async () => {
      for (const { me, db } of users) {
        const [todo] = await db.insert(todos).values({ task: `${me}'s` }).returning()
        const { id, insertedAt, ...rest } = todo
        assert.deepEqual(rest, { userId: me, task: `${me}'s`, isComplete: false })
        assert.ok(typeof id === 'bigint' && insertedAt instanceof Date)
        assert.ok(Math.abs(insertedAt - Date.now()) < 600_000, insertedAt)
      }
    },
    'each sees their own, by every form of a query': async () => {
      for (const { me, db } of users) {
        const own = await db.select().from(todos).orderBy(desc(todos.id))
        assert.ok(own.length > 0 && own.every(({ userId }) => userId === me))
        assert.deepEqual(await db.query.todos.findMany({ orderBy: [desc(todos.id)] }), own)
        assert.equal(await db.$count(todos), own.length)
        const counted = await db.execute(sql`SELECT DISTINCT user_id FROM todos`)
        assert.deepEqual(counted.rows, [{ user_id: me }])
        const found = await db.select({ task: todos.task }).from(todos).where(eq(todos.id, own[0].id))
        assert.deepEqual(found, [{ task: own[0].task }])
      }
    },
    'at the same time, too': async () => {
      const asked = Array.from({ length: 60 }, async (_, turn) => {
        const { me, db } = users[turn % users.length]
        assert.deepEqual(await db.selectDistinct({ userId: todos.userId }).from(todos), [{ userId: me }])
      })
      await Promise.all(asked)
    },
    'no row of another is made, changed or removed': async () => {
      const [alice, bob] = users
      const [{ id, task }] = await bob.db.select().from(todos)
      const made = await failure(alice.db.insert(todos).values({ userId: 'bob', task: 'not mine' }))
      assert.equal((made.cause ?? made).code, '42501')
      const mine = eq(todos.id, id)
      assert.deepEqual(await alice.db.update(todos).set({ task: 'mine' }).where(mine).returning(), [])
      assert.deepEqual(await alice.db.delete(todos).where(mine).returning(), [])
      assert.equal((await bob.db.select().from(todos).where(mine))[0].task, task)
      const given = await failure(bob.db.update(todos).set({ userId: 'alice' }).where(mine))
      assert.equal((given.cause ?? given).code, '42501')
    },
    'their own rows are': async () => {
      for (const { me, db } of users) {
        const [{ id }] = await db.insert(todos).values({ task: 'a while' }).returning({ id: todos.id })
        const changed = db.update(todos).set({ isComplete: true }).where(eq(todos.id, id))
        assert.deepEqual(await changed.returning({ done: todos.isComplete, who: todos.userId }), [{ done: true, who: me }])
        assert.equal((await db.delete(todos).where(eq(todos.id, id))).rowCount, 1)
      }
    },
  }
}

function batches(users) {
  return {
    'a batch': async () => {
      for (const { me, db } of users) {
        const [added, all, removed] = await db.batch([
          db.insert(todos).values({ task: 'in a batch' }).returning({ who: todos.userId }),
          db.query.todos.findMany({ where: eq(todos.task, 'in a batch') }),
          db.delete(todos).where(eq(todos.task, 'in a batch')),
        ])
        assert.deepEqual([added, all.length, removed.rowCount], [[{ who: me }], 1, 1])
      }
    },
    'a batch that fails has done nothing': async () => {
      const [{ db }] = users
      const before = await db.$count(todos)
      const added = db.insert(todos).values({ task: 'in a batch' })
      const failed = await failure(db.batch([added, db.insert(todos).values({ userId: 'bob', task: 'x' })]))
      assert.equal((failed.cause ?? failed).code, '42501')
      assert.equal(await db.$count(todos), before)
    },
  }
}

function transactions(users) {
  return {
    'interactive transactions': async () => {
      for (const { me, db } of users) {
        const before = await db.$count(todos)
        await db.transaction(async (tx) => {
          const [{ id, userId }] = await tx.insert(todos).values({ task: 'in a transaction' }).returning()
          assert.deepEqual([userId, await tx.$count(todos)], [me, before + 1])
          await tx.transaction(async (inner) => inner.delete(todos).where(eq(todos.id, id)))
        }, { isolationLevel: 'serializable' })
        assert.equal(await db.$count(todos), before)
      }
    },
    'what is rolled back has not been': async () => {
      const [{ db }] = users
      const before = await db.$count(todos)
      const failed = db.transaction(async (tx) => {
        await tx.insert(todos).values({ task: 'in a transaction' })
        await tx.transaction(async (inner) => inner.insert(todos).values({ userId: 'bob', task: 'x' })).catch(() => {})
        assert.equal(await tx.$count(todos), before + 1)
        tx.rollback()
      })
      assert.match((await failure(failed)).message, /Rollback/)
      assert.equal(await db.$count(todos), before)
    },
  }
}
