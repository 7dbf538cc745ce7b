// Prisma with its adapter for Neon's driver, over WebSocket (PrismaNeon) and HTTP (PrismaNeonHttp), as two users.
// Run behind `prisma generate --schema prisma/schema.prisma`. Reads HTTP_ADDRESS PGDATABASE ALICE BOB.

import assert from 'node:assert/strict'
import { PrismaNeon, PrismaNeonHttp } from '@prisma/adapter-neon'
import { Prisma, PrismaClient } from '@prisma/client'
import { check, failure, load, NEWEST, url, USERS } from '../neon/driver.mjs'

await load(NEWEST)
const overHttp = (token) => new PrismaNeonHttp(url(), { authToken: token })
const overWebSocket = (token) => new PrismaNeon({ connectionString: url('authenticated', token) })

for (const [way, adapter] of [['WebSocket', overWebSocket], ['HTTP', overHttp]]) {
  console.log(way)
  const users = Object.entries(USERS).map(([me, token]) => ({ me, db: new PrismaClient({ adapter: adapter(token) }) }))
  await check(worksFor(users))
  if (way === 'WebSocket') await check(transactions(users))
  for (const { db } of users) await db.$disconnect()
}
console.log('ok prisma')

function worksFor(users) {
  return {
    'each sees their own': async () => {
      const asked = Array.from({ length: 40 }, async (_, turn) => {
        const { me, db } = users[turn % users.length]
        const todos = await db.todo.findMany({ where: { id: { gt: 0 } }, orderBy: { id: 'desc' } })
        assert.ok(todos.length > 0 && todos.every(({ userId }) => userId === me))
      })
      await Promise.all(asked)
    },
    'rows are made, changed and removed': async () => {
      for (const { me, db } of users) {
        const made = await db.todo.create({ data: { task: 'by Prisma' } })
        assert.deepEqual([made.userId, made.isComplete, typeof made.id], [me, false, 'bigint'])
        assert.ok(made.insertedAt instanceof Date)
        const where = { id: made.id }
        assert.equal((await db.todo.update({ where, data: { isComplete: true } })).isComplete, true)
        assert.equal(await db.todo.count({ where }), 1)
        await db.todo.delete({ where })
        assert.equal(await db.todo.findUnique({ where }), null)
      }
    },
    'no row of another is': async () => {
      const [alice, bob] = users
      const { id } = await bob.db.todo.findFirst()
      assert.equal(await alice.db.todo.findUnique({ where: { id } }), null)
      assert.deepEqual(await alice.db.todo.updateMany({ where: { id }, data: { task: 'mine' } }), { count: 0 })
      assert.deepEqual(await alice.db.todo.deleteMany({ where: { id } }), { count: 0 })
      const made = await failure(alice.db.todo.create({ data: { task: 'x', userId: 'bob' } }))
      assert.match(made.message, /row-level security|42501/)
    },
    'raw SQL': async () => {
      for (const { me, db } of users) {
        const rows = await db.$queryRaw(Prisma.sql`SELECT auth.user_id() AS me, ${7}::int AS number`)
        assert.deepEqual(rows, [{ me, number: 7 }])
      }
    },
  }
}

function transactions(users) {
  return {
    'interactive transactions': async () => {
      for (const { me, db } of users) {
        const before = await db.todo.count()
        const failed = db.$transaction(async (tx) => {
          assert.equal((await tx.todo.create({ data: { task: 'never' } })).userId, me)
          assert.equal(await tx.todo.count(), before + 1)
          throw new Error('enough')
        }, { isolationLevel: 'Serializable' })
        assert.equal((await failure(failed)).message, 'enough')
        assert.equal(await db.todo.count(), before)
      }
    },
    'several at once': async () => {
      for (const { me, db } of users) {
        const [made, all] = await db.$transaction([
          db.todo.create({ data: { task: 'together' } }),
          db.todo.deleteMany({ where: { task: 'together' } }),
        ])
        assert.deepEqual([made.userId, all], [me, { count: 1 }])
      }
    },
  }
}
