// The tables, and whose rows are whose. What changes here becomes SQL in migrations/ by `npx drizzle-kit generate`, and
// reaches the database by `npx drizzle-kit migrate`.

import { type InferSelectModel, sql } from 'drizzle-orm'
import { bigint, boolean, index, pgPolicy, pgTable, text, timestamp } from 'drizzle-orm/pg-core'

// The parentheses matter. `(select auth.user_id()) = user_id` lets Postgres ask once for a statement, and use the index;
// `(select auth.user_id() = user_id)`, with the column inside, has it verify the identity again for every row.
const isOwn = sql`(select auth.user_id()) = user_id`

export const todos = pgTable(
  'todos',
  {
    id: bigint('id', { mode: 'bigint' }).primaryKey().generatedByDefaultAsIdentity(),
    userId: text('user_id').notNull().default(sql`auth.user_id()`),
    task: text('task').notNull(),
    isComplete: boolean('is_complete').notNull().default(false),
    insertedAt: timestamp('inserted_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (todos) => [
    index('todos_user_id_idx').on(todos.userId),
    pgPolicy('create todos', { for: 'insert', to: 'authenticated', withCheck: isOwn }),
    pgPolicy('view todos', { for: 'select', to: 'authenticated', using: isOwn }),
    pgPolicy('update todos', { for: 'update', to: 'authenticated', using: isOwn }),
    pgPolicy('delete todos', { for: 'delete', to: 'authenticated', using: isOwn }),
  ],
)

export type Todo = InferSelectModel<typeof todos>
