// For drizzle-kit, which writes what schema.ts takes into OUT (`generate`) and does it as the owner of OWNER_URL (`migrate`).
// Not `push`: up to 0.31 that creates policies without their conditions, and nobody sees a row.
// https://github.com/drizzle-team/drizzle-orm/issues/3504

import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: './drizzle/schema.ts',
  out: process.env.OUT!,
  dbCredentials: { url: process.env.OWNER_URL! },
})
