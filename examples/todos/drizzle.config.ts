// For drizzle-kit: `generate` writes what has changed in schema.ts as SQL, and `migrate` runs it, as the database's owner,
// whom policies do not hold, and past pgusher.

import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: './schema.ts',
  out: './migrations',
  dbCredentials: { url: process.env.DATABASE_URL! },
})
