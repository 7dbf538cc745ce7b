// The database, straight from the browser: single statements over HTTP, a transaction over a WebSocket, both with the
// user's token. There is no server of ours in between, and no WHERE that keeps users apart: Postgres does.

import { neon, neonConfig, parseIntoClientConfig, Pool } from '@neondatabase/serverless'
import { asc, eq, inArray } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/neon-http'
import { drizzle as drizzleOverWebSocket } from 'drizzle-orm/neon-serverless'
import { todos, type Todo } from '../schema'
import { accessToken } from './login'
import { settings } from './settings'

// The two changes from code for Neon: where pgusher is, for HTTP and for WebSockets.
const { protocol, host } = new URL(settings.httpUrl)
neonConfig.fetchEndpoint = `${settings.httpUrl}/sql`
neonConfig.wsProxy = () => `${host}/v2`
neonConfig.useSecureWebSocket = protocol === 'https:'

// The driver warns of passwords in pages; there is none in this URL.
const sql = neon(settings.databaseUrl, { authToken: accessToken, disableWarningInBrowsers: true })
const db = drizzle({ client: sql })

export const list = () => db.select().from(todos).orderBy(asc(todos.id))
export const add = (task: string) => db.insert(todos).values({ task })
export const tick = ({ id }: Todo, isComplete: boolean) => db.update(todos).set({ isComplete }).where(eq(todos.id, id))
export const remove = ({ id }: Todo) => db.delete(todos).where(eq(todos.id, id))

// Ticks what is open, and adds a reward for it: a transaction in which the page decides what comes next.
export async function finishAll(): Promise<void> {
  const pool = new Pool({ ...parseIntoClientConfig(settings.databaseUrl), password: accessToken })
  try {
    await drizzleOverWebSocket({ client: pool }).transaction(async (tx) => {
      const open = await tx.select({ id: todos.id }).from(todos).where(eq(todos.isComplete, false)).for('update')
      if (open.length === 0) return
      const ids = open.map(({ id }) => id)
      await tx.update(todos).set({ isComplete: true }).where(inArray(todos.id, ids))
      await tx.insert(todos).values({ task: `Rest: ${open.length} done at once` })
    })
  } finally {
    await pool.end()
  }
}
