// Who is in front of the browser: a login at the OpenID provider, by the authorization code flow with PKCE.

import { UserManager } from 'oidc-client-ts'
import { settings } from './settings'

const users = new UserManager({
  authority: settings.issuer,
  client_id: settings.clientId,
  redirect_uri: `${location.origin}/`,
  post_logout_redirect_uri: `${location.origin}/`,
  scope: 'openid',
  // Auth0 gives out a JWT for the API that is named here; without it, an opaque token that nobody can check.
  extraQueryParams: { audience: settings.audience },
  // A token that has expired is replaced by a login.
  automaticSilentRenew: false,
})

// The user's id, or null if nobody is logged in.
export async function currentUser(): Promise<string | null> {
  if (new URLSearchParams(location.search).has('state')) {
    try {
      await users.signinCallback()
    } finally {
      // The code in the address has been used.
      history.replaceState(null, '', '/')
    }
  }
  const user = await users.getUser()
  return user && !user.expired ? user.profile.sub : null
}

export async function accessToken(): Promise<string> {
  const user = await users.getUser()
  if (!user || user.expired) throw new Error('Please log in again.')
  return user.access_token
}

export const logIn = () => users.signinRedirect()
export const logOut = () => users.signoutRedirect()
