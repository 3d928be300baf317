import t from 'tap'
import { createServerClock } from '../../lib/stores/server-clock.js'

t.test('before an answer it knows of no time but the first', async (t) => {
  const clock = createServerClock()
  t.equal(clock.at(5000), 0)
  t.equal(clock.at(-5000), 0)
})

t.test('it is never ahead of a server whose clock it has seen, and as close as the quickest answer', async (t) => {
  const clock = createServerClock()
  clock.learn(10_000, 100, 300)
  t.equal(clock.at(300), 10_000)
  clock.learn(10_500, 700, 710)
  t.equal(clock.at(710), 10_500)
  clock.learn(11_000, 1100, 1900)
  t.equal(clock.at(710), 10_500, 'a slower answer tells nothing new')
})

t.test('an answer that does not fit replaces it', async (t) => {
  for (const jump of [-3_600_000, -50, 50, 3_600_000]) {
    const clock = createServerClock()
    clock.learn(10_000, 100, 110)
    clock.learn(10_100 + jump, 200, 210)
    t.equal(clock.at(210), 10_100 + jump)
  }
})
