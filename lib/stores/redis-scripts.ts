import { createHash } from 'node:crypto'

/** A script, and the digest by which a server that knows it runs it. */
export interface Script {
  readonly source: string
  readonly sha: string
}

function script (source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

// A session is a JSON text: g its generation, at when it was rotated, st when it began and u the microseconds of that, e its
// absolute end (all in milliseconds of this server's clock), p the epoch of its identity that it outlives, x how it ended,
// l its label. Its key never outlives its absolute end: Redis keeps a key until its time has passed, while a session is
// over when its end has come. Hence a millisecond less.
const NOW = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

// Nobody waits for what runs after its deadline, and who was told that it failed may act on that. The answer is the
// time, with nothing behind it where it was too late.
const IN_TIME = `${NOW}
if now > (tonumber(ARGV[1]) or now) then return { now } end
`

// The index is kept as long as its longest session, with only what is alive in it: an identity may log in for ever.
const KEEP_INDEX = `
local function index(key, id, ttl)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZADD', key, now + ttl, id)
  redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), ttl))
end
`

// What an identity's tokens are measured by: of a session that began before it, or carries an older one, none is good.
const EPOCH = `
local function epoch_of(key)
  return tonumber(redis.call('GET', key) or '0')
end
`

// Ends all sessions of an identity but the one whose key is spared, and its tokens without a session, by one number,
// however many there are. It is kept for as long as the longest of them, and no shorter than a token was announced to live.
const END_EVERY = `
local function end_every(epoch_key, index_key, id, key, ttl)
  local before = epoch_of(epoch_key)
  local epoch = math.max(now, before + 1)
  local left = redis.call('PTTL', index_key)
  redis.call('SET', epoch_key, string.format('%.0f', epoch), 'PX', math.max(redis.call('PTTL', epoch_key), left, ttl))
  redis.call('ZREMRANGEBYSCORE', index_key, '-inf', now)
  local raw = key and redis.call('GET', key)
  local spared = raw and cjson.decode(raw)
  local is_spared = spared and not spared.x and spared.p >= before
  if is_spared then
    spared.p = epoch
    redis.call('SET', key, cjson.encode(spared), 'KEEPTTL')
    redis.call('ZREM', index_key, id)
  end
  local ended = redis.call('ZRANGE', index_key, 0, -1)
  redis.call('DEL', index_key)
  if is_spared then index(index_key, id, redis.call('PTTL', key)) end
  return ended
end
`

/** KEYS: session, index, epoch. ARGV: deadline or '', id, lifetime, keepFor, label or ''. Gives the time and 'started'. */
export const START = script(`${IN_TIME}${KEEP_INDEX}${EPOCH}
local lifetime = tonumber(ARGV[3])
local s = { g = 1, at = now, st = now, u = t[2] % 1000, e = now + lifetime, p = epoch_of(KEYS[3]) }
if ARGV[5] ~= '' then s.l = ARGV[5] end
local ttl = math.min(tonumber(ARGV[4]), lifetime)
redis.call('SET', KEYS[1], cjson.encode(s), 'PXAT', now + ttl - 1)
index(KEYS[2], ARGV[2], ttl)
return { now, 'started' }
`)

/**
 * KEYS: session, index, epoch. ARGV: deadline or '', id, generation, grace, keepFor, '1' to end all on a first reuse,
 * keepFor of the epoch. Gives the time, the outcome, the generation and the milliseconds left; for a reuse whether it is
 * the first, and what ended with it.
 */
export const ROTATE = script(`${IN_TIME}${KEEP_INDEX}${EPOCH}${END_EVERY}
local raw = redis.call('GET', KEYS[1])
if not raw then return { now, 'refused' } end
local s = cjson.decode(raw)
local p = tonumber(ARGV[3])
if s.e <= now or s.x == 'ended' then return { now, 'refused' } end
if s.x == 'reuse' then return { now, p < s.g and 'reuse' or 'refused', 0, {} } end
if epoch_of(KEYS[3]) > s.p then return { now, 'refused' } end
if p < s.g then
  if p == s.g - 1 and now - s.at < tonumber(ARGV[4]) then return { now, 'replayed', s.g, s.e - now } end
  s.x = 'reuse'
  redis.call('SET', KEYS[1], cjson.encode(s), 'KEEPTTL')
  redis.call('ZREM', KEYS[2], ARGV[2])
  return { now, 'reuse', 1, ARGV[6] == '1' and end_every(KEYS[3], KEYS[2], nil, nil, tonumber(ARGV[7])) or {} }
end
local outcome = p == s.g and 'rotated' or 'adopted'
s.g = p + 1
s.at = now
local ttl = math.max(redis.call('PTTL', KEYS[1]) + 1, math.min(tonumber(ARGV[5]), s.e - now))
redis.call('SET', KEYS[1], cjson.encode(s), 'PXAT', now + ttl - 1)
index(KEYS[2], ARGV[2], ttl)
return { now, outcome, s.g, s.e - now }
`)

/** KEYS: session, index, epoch. ARGV: id. Gives 1 where a session was ended. */
export const END = script(`${EPOCH}
local raw = redis.call('GET', KEYS[1])
if not raw then return 0 end
local s = cjson.decode(raw)
if s.x or epoch_of(KEYS[3]) > s.p then return 0 end
s.x = 'ended'
redis.call('SET', KEYS[1], cjson.encode(s), 'KEEPTTL')
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
`)

/**
 * KEYS: epoch, index, and the session to spare, if there is one. ARGV: deadline or '', the id of that session or '',
 * keepFor of the epoch. Gives the time and the ids of what was ended.
 */
export const END_ALL = script(`${IN_TIME}${KEEP_INDEX}${EPOCH}${END_EVERY}
return { now, end_every(KEYS[1], KEYS[2], ARGV[2], KEYS[3], tonumber(ARGV[3])) }
`)

/** KEYS: epoch, and any others. ARGV: for how long a token will ask for the epoch. Gives what the keys hold. */
export const KEEP_EPOCH = script(`
local epoch = redis.call('GET', KEYS[1]) or '0'
redis.call('SET', KEYS[1], epoch, 'PX', math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[1])))
return redis.call('MGET', unpack(KEYS))
`)

/**
 * KEYS: index. Gives ids and sessions in turn, and forgets those that are gone. The keys of the sessions are of the slot of
 * the index, by their hash tag, and begin as it does: made of its key, they have the prefix that a client may put before
 * each.
 */
export const LIST = script(`${NOW}
local begin = string.sub(KEYS[1], 1, -string.len('sessions') - 1) .. 'session:'
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local raw = redis.call('GET', begin .. id)
  if raw then
    found[#found + 1] = id
    found[#found + 1] = raw
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return found
`)
