// Where everything is; the server part has it from its environment.

export const settings: {
  issuer: string
  clientId: string
  audience: string
  httpUrl: string
  databaseUrl: string
} = await (await fetch('/settings.json')).json()
