// The todos in headless Chromium, as alice and then as bob: log in at the issuer, read and change rows over HTTP from a
// page of another origin, run a transaction over a WebSocket, log out. Then what a page of an origin that the
// configuration does not name gets, which is nothing. APP_URL and HTTP_URL are where the two are, ALICE is a token.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { chromium } from 'playwright-core'

const { APP_URL, HTTP_URL, ALICE } = process.env
const PATIENCE = 60_000 // milliseconds

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  // Chromium has no sandbox for root.
  chromiumSandbox: process.getuid() !== 0,
})
try {
  await appIsThere()
  const page = await browser.newPage()
  page.setDefaultTimeout(PATIENCE)
  const seen = { sql: [], sockets: [] }
  page.on('response', (response) => response.url() === `${HTTP_URL}/sql` && seen.sql.push(response))
  page.on('websocket', (socket) => seen.sockets.push(socket.url()))

  await logIn(page, 'alice')
  await shows(page, ['☑ Buy a ticket', '☐ Find my seat', '☐ Enjoy the show'], '1 of 3 done')
  await page.getByLabel('Another task').fill('<b>Applaud</b>')
  await page.getByRole('button', { name: 'Add' }).click()
  await shows(page, ['☑ Buy a ticket', '☐ Find my seat', '☐ Enjoy the show', '☐ <b>Applaud</b>'], '1 of 4 done')
  await page.getByLabel('Find my seat').check()
  await shows(page, ['☑ Buy a ticket', '☑ Find my seat', '☐ Enjoy the show', '☐ <b>Applaud</b>'], '2 of 4 done')
  await page.getByTitle('Delete “Buy a ticket”').click()
  await shows(page, ['☑ Find my seat', '☐ Enjoy the show', '☐ <b>Applaud</b>'], '1 of 3 done')

  assert.deepEqual(seen.sockets, [])
  await page.getByRole('button', { name: 'Finish all' }).click()
  const finished = ['☑ Find my seat', '☑ Enjoy the show', '☑ <b>Applaud</b>', '☐ Rest: 2 done at once']
  await shows(page, finished, '3 of 4 done')
  assert.deepEqual(seen.sockets, [`${HTTP_URL.replace('http', 'ws')}/v2`])
  await page.reload()
  await shows(page, finished, '3 of 4 done')

  await logOut(page)
  await logIn(page, 'bob')
  await shows(page, ['☑ Sweep the stage', '☐ Tune the piano'], '1 of 2 done')
  await logOut(page)

  // The page's own requests, each of which a browser only sends elsewhere when it has been allowed to.
  assert.ok(seen.sql.length > 0)
  for (const response of seen.sql) {
    const { origin } = await response.request().allHeaders()
    assert.deepEqual([origin, response.status()], [APP_URL, 200])
  }

  assert.deepEqual(await tries(page), ['alice', 'open'])
  const stranger = createServer((_, response) => response.end('<!doctype html>')).listen(0, '127.0.0.1')
  await once(stranger, 'listening')
  await page.goto(`http://127.0.0.1:${stranger.address().port}/`)
  assert.deepEqual(await tries(page), ['TypeError: Failed to fetch', 'refused'])
  stranger.close()
  console.log('ok browser')
} finally {
  await browser.close()
}

// The application comes when the demo is ready, and has to install and bundle first.
async function appIsThere() {
  for (const end = Date.now() + PATIENCE; ; ) {
    const response = await fetch(APP_URL).catch((error) => assert.ok(Date.now() < end, error))
    if (response) return response.body.cancel()
    await setTimeout(50)
  }
}

async function logIn(page, name) {
  await page.goto(APP_URL)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('button', { name, exact: true }).click()
  await page.getByRole('heading', { name: `Todos of ${name}` }).waitFor()
  // The code that the page came back with is not left for anybody to find.
  assert.equal(page.url(), `${APP_URL}/`)
}

async function logOut(page) {
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('button', { name: 'Log in' }).waitFor()
  assert.equal(await page.evaluate(() => Object.keys(sessionStorage).filter((key) => key.includes('oidc.user')).length), 0)
}

// Waits until the page shows this list, and what the server part says of it.
async function shows(page, expected, progress) {
  const read = () =>
    page.evaluate(() => [
      ...[...document.querySelectorAll('#todos li label')].map(
        (label) => (label.querySelector('input').checked ? '☑ ' : '☐ ') + label.textContent.trim(),
      ),
      document.getElementById('progress').textContent,
      document.getElementById('error').textContent,
    ])
  const wanted = [...expected, progress, '']
  const end = Date.now() + PATIENCE
  let found = await read()
  while (JSON.stringify(found) !== JSON.stringify(wanted) && Date.now() < end) {
    await setTimeout(20)
    found = await read()
  }
  assert.deepEqual(found, wanted)
}

// What comes of it when a script in this page asks with alice's token, and when it opens a WebSocket.
function tries(page) {
  return page.evaluate(
    async ([url, token]) => {
      const request = {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ query: 'select auth.user_id() as who' }),
      }
      const asked = await fetch(`${url}/sql`, request)
        .then((response) => response.json())
        .then(({ rows }) => rows[0].who, String)
      const socket = new WebSocket(`${url.replace('http', 'ws')}/v2`)
      const opened = await new Promise((resolve) => {
        socket.onopen = () => resolve('open')
        socket.onerror = () => resolve('refused')
      })
      socket.close()
      return [asked, opened]
    },
    [HTTP_URL, ALICE],
  )
}
