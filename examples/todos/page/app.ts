// The page: shows the todos of whoever is logged in, and what has changed after each change.

import type { Todo } from '../schema'
import * as database from './database'
import { accessToken, currentUser, logIn, logOut } from './login'

const element = <E extends HTMLElement>(id: string) => document.getElementById(id) as E

// Does something that may fail, and says so if it does.
async function attempt(action: () => Promise<unknown>): Promise<void> {
  element('error').textContent = ''
  try {
    await action()
  } catch (error) {
    element('error').textContent = error instanceof Error ? error.message : String(error)
  }
}

const change = (action: () => Promise<unknown>) =>
  attempt(async () => {
    await action()
    await show()
  })

async function show(): Promise<void> {
  const [todos, progress] = await Promise.all([database.list(), fetchProgress()])
  element('todos').replaceChildren(...todos.map(item))
  element('progress').textContent = progress
}

// What the server part has to say.
async function fetchProgress(): Promise<string> {
  const response = await fetch('/progress', { headers: { authorization: `Bearer ${await accessToken()}` } })
  return response.text()
}

function item(todo: Todo): HTMLLIElement {
  const tick = Object.assign(document.createElement('input'), { type: 'checkbox', checked: todo.isComplete })
  tick.onchange = () => change(() => database.tick(todo, tick.checked))
  const task = Object.assign(document.createElement('span'), { textContent: todo.task })
  const label = document.createElement('label')
  label.append(tick, ' ', task)
  const remove = Object.assign(document.createElement('button'), { textContent: '×', title: `Delete “${todo.task}”` })
  remove.onclick = () => change(() => database.remove(todo))
  const li = document.createElement('li')
  li.append(label, remove)
  return li
}

element('log-in').onclick = () => attempt(logIn)
element('log-out').onclick = () => attempt(logOut)
element('finish').onclick = () => change(database.finishAll)
element<HTMLFormElement>('add').onsubmit = (event) => {
  event.preventDefault()
  const form = event.target as HTMLFormElement
  const task = String(new FormData(form).get('task'))
  form.reset()
  void change(() => database.add(task))
}

await attempt(async () => {
  const user = await currentUser()
  element('outside').hidden = user !== null
  element('inside').hidden = user === null
  if (user === null) return
  element('who').textContent = user
  await show()
})
