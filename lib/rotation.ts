/** What the decision about a rotation looks at. Times are milliseconds of one clock. */
export interface RotatingSession {
  readonly generation: number
  readonly rotatedAt: number
  readonly endsAt: number
  readonly ended: false | 'ended' | 'reuse'
}

/** What is to become of a refresh token. */
export type RotationOutcome = 'rotated' | 'replayed' | 'adopted' | 'reuse' | 'refused'

/**
 * Decides what becomes of a refresh token of a generation. Whoever presents a token that was used before the grace
 * shows that two hold it, and nobody can tell which is the thief (RFC 9700 §4.14.2).
 */
export function judgeRotation (session: RotatingSession, generation: number, grace: number, now: number): RotationOutcome {
  if (session.endsAt <= now || session.ended === 'ended') return 'refused'
  if (session.ended === 'reuse') return generation < session.generation ? 'reuse' : 'refused'
  if (generation === session.generation) return 'rotated'
  if (generation > session.generation) return 'adopted'
  return generation === session.generation - 1 && now - session.rotatedAt < grace ? 'replayed' : 'reuse'
}
