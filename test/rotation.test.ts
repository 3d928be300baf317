import t from 'tap'
import { judgeRotation, type RotatingSession, type RotationOutcome } from '../lib/rotation.js'

const NOW = 1_000_000
const GRACE = 10_000

const ALIVE: RotatingSession = { generation: 5, rotatedAt: NOW - 1000, endsAt: NOW + 1000, ended: false }

interface Row {
  title: string
  session?: Partial<RotatingSession>
  generation: number
  grace?: number
  outcome: RotationOutcome
}

const ROWS: readonly Row[] = [
  { title: 'the newest token', generation: 5, outcome: 'rotated' },
  { title: 'the newest token, without a grace', generation: 5, grace: 0, outcome: 'rotated' },
  { title: 'the newest token in the last millisecond of the session', generation: 5, session: { endsAt: NOW + 1 }, outcome: 'rotated' },
  { title: 'the token just used, within the grace', generation: 4, outcome: 'replayed' },
  { title: 'the token just used, in the last millisecond of the grace', generation: 4, session: { rotatedAt: NOW - GRACE + 1 }, outcome: 'replayed' },
  { title: 'the token just used, when the grace is over', generation: 4, session: { rotatedAt: NOW - GRACE }, outcome: 'reuse' },
  { title: 'the token just used, in the same millisecond, without a grace', generation: 4, session: { rotatedAt: NOW }, grace: 0, outcome: 'reuse' },
  { title: 'a token older than that, within the grace', generation: 3, outcome: 'reuse' },
  { title: 'the first token, long after', generation: 1, session: { rotatedAt: 0 }, outcome: 'reuse' },
  { title: 'a token that is ahead', generation: 6, outcome: 'adopted' },
  { title: 'a token that is far ahead', generation: 600, outcome: 'adopted' },
  { title: 'the newest token at the absolute end', generation: 5, session: { endsAt: NOW }, outcome: 'refused' },
  { title: 'the token just used at the absolute end', generation: 4, session: { endsAt: NOW }, outcome: 'refused' },
  { title: 'an old token after the absolute end', generation: 1, session: { endsAt: NOW - 1 }, outcome: 'refused' },
  { title: 'a token that is ahead, after the absolute end', generation: 6, session: { endsAt: NOW - 1 }, outcome: 'refused' },
  { title: 'the newest token of an ended session', generation: 5, session: { ended: 'ended' }, outcome: 'refused' },
  { title: 'the token just used of an ended session', generation: 4, session: { ended: 'ended' }, outcome: 'refused' },
  { title: 'an old token of an ended session', generation: 1, session: { ended: 'ended' }, outcome: 'refused' },
  { title: 'an old token of a session that ended by reuse', generation: 1, session: { ended: 'reuse' }, outcome: 'reuse' },
  { title: 'the token just used of a session that ended by reuse', generation: 4, session: { ended: 'reuse' }, outcome: 'reuse' },
  { title: 'the newest token of a session that ended by reuse', generation: 5, session: { ended: 'reuse' }, outcome: 'refused' },
  { title: 'a token that is ahead, of a session that ended by reuse', generation: 6, session: { ended: 'reuse' }, outcome: 'refused' },
  { title: 'an old token of a session that ended by reuse, after its absolute end', generation: 1, session: { ended: 'reuse', endsAt: NOW }, outcome: 'refused' },
]

for (const { title, session, generation, grace = GRACE, outcome } of ROWS) {
  t.test(`${title}: ${outcome}`, async (t) => {
    t.equal(judgeRotation({ ...ALIVE, ...session }, generation, grace, NOW), outcome)
  })
}
