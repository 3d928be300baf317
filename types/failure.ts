import type { DeepReadonly, JwtHeader, JwtPayload } from './claims.js'

/** What every error of a request that was refused carries. */
export interface JwtFailure extends Error {
  /** The stable name of the failure: `FST_JWT_EXT_…`. */
  code: string
  /** The status of the answer, as the configuration's `errorProfile` has it. */
  statusCode: number
  /** The `WWW-Authenticate` challenge (RFC 9110 §11.6.1, RFC 6750 §3), where the answer carries one. */
  readonly challenge: string | undefined
  /** The header of the token, where the token's signature was verified. */
  readonly jwtHeader: DeepReadonly<JwtHeader> | undefined
  /** The payload of the token, where its signature was verified; `type`, `fresh` and `jti` filled in once its claims were. */
  readonly jwtPayload: DeepReadonly<JwtPayload> | undefined
}
