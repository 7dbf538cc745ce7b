// The todos of the seed's application, as Drizzle declares them: each user creates, views, updates and deletes their own.

import { sql } from 'drizzle-orm'
import { bigint, boolean, pgPolicy, pgTable, text, timestamp } from 'drizzle-orm/pg-core'

const mine = sql`(select auth.user_id() = user_id)`

export const todos = pgTable(
  'todos',
  {
    id: bigint('id', { mode: 'bigint' }).primaryKey().generatedByDefaultAsIdentity(),
    userId: text('user_id').notNull().default(sql`(auth.user_id())`),
    task: text('task').notNull(),
    isComplete: boolean('is_complete').notNull().default(false),
    insertedAt: timestamp('inserted_at', { withTimezone: true }).defaultNow().notNull(),
  },
  () => [
    pgPolicy('create todos', { for: 'insert', to: 'authenticated', withCheck: mine }),
    pgPolicy('view todos', { for: 'select', to: 'authenticated', using: mine }),
    pgPolicy('update todos', { for: 'update', to: 'authenticated', using: mine }),
    pgPolicy('delete todos', { for: 'delete', to: 'authenticated', using: mine }),
  ],
)
