import t, { type Test } from 'tap'
import jwtExtended, { memoryStore, type JwtExtendedOptions, type JwtRule } from '../index.js'
import { describeAnswers } from '../lib/openapi-answers.js'
import { readRule } from '../lib/rule.js'
import { readSettings } from '../lib/settings.js'
import { SECRET } from './support/app.js'
import { buildDocumented, documentOf, faultsOf, type Operation } from './support/openapi.js'

type Answers = Operation['responses']

async function answersOf (t: Test, options: JwtExtendedOptions, rule: JwtRule = {}, method: 'GET' | 'POST' = 'GET'): Promise<Answers> {
  const app = await buildDocumented(t, options)
  app.route({ method, url: '/', preHandler: app.jwtRequired(rule), handler: async () => 'in' })
  const document = await documentOf(app)
  t.strictSame(faultsOf(document), [])
  return document.paths['/']![method.toLowerCase()]!.responses
}

const describe = (answers: Answers): Record<string, string> => Object.fromEntries(Object.entries(answers).map(([status, { description }]) => [status, description]))
const schemaOf = (answers: Answers, status: number): unknown => answers[status]!.content?.['application/json']!.schema

t.test('the statuses are those of the profile, with the reasons that the rule and the configuration give', async (t) => {
  t.strictSame(describe(await answersOf(t, {
    tokenLocation: ['headers', 'cookies', 'query_string', 'json'], store: memoryStore(), tokenVerificationLoader: () => true, userLookupLoader: () => 'x',
  }, { fresh: true }, 'POST')), {
    200: 'Default Response',
    400: 'Bad Request: refused claims',
    401: 'Unauthorized: no token, no CSRF value, or another one, an expired token, a token that is not fresh, a revoked token, an unknown user',
    422: 'Unprocessable Entity: a malformed header, a malformed query parameter, an invalid token, a token of another type',
  })
  t.strictSame(describe(await answersOf(t, {
    errorProfile: 'rfc6750', tokenLocation: ['headers', 'cookies'], tokenInBlocklistLoader: () => false, tokenVerificationLoader: () => true,
  }, { optional: true }, 'POST')), {
    200: 'Default Response',
    400: 'Bad Request: a malformed header',
    401: 'Unauthorized: an invalid token, a token of another type, an expired token, a revoked token',
    403: 'Forbidden: no CSRF value, or another one, refused claims',
  })
  t.strictSame(describe(await answersOf(t, { tokenLocation: 'cookies', store: memoryStore() }, { skipRevocationCheck: true, verifyType: false })), {
    200: 'Default Response',
    401: 'Unauthorized: no token, an expired token',
    422: 'Unprocessable Entity: an invalid token',
  })
})

t.test('a CSRF value is told of only where one is asked for', async (t) => {
  const asks = async (options: JwtExtendedOptions, rule: JwtRule = {}, method: 'GET' | 'POST' = 'POST'): Promise<boolean> => {
    return JSON.stringify(describe(await answersOf(t, options, rule, method))).includes('CSRF')
  }
  for (const errorProfile of ['flask', 'rfc6750'] as const) {
    t.equal(await asks({ errorProfile, tokenLocation: ['headers', 'cookies'] }), true)
    t.equal(await asks({ errorProfile }), false, 'headers only')
    t.equal(await asks({ errorProfile, tokenLocation: ['headers', 'query_string', 'json'] }), false, 'no cookies')
    t.equal(await asks({ errorProfile, tokenLocation: ['headers', 'cookies'] }, { locations: 'headers' }), false, 'a rule without cookies')
    t.equal(await asks({ errorProfile }, { locations: 'cookies' }), true, 'a rule with cookies')
    t.equal(await asks({ errorProfile, tokenLocation: 'cookies' }, {}, 'GET'), false, 'a method that needs none')
    t.equal(await asks({ errorProfile, tokenLocation: 'cookies', csrfMethods: ['GET'] }, {}, 'GET'), true, 'a method that the application adds')
    t.equal(await asks({ errorProfile, tokenLocation: 'cookies', cookieCsrfProtect: false }), false, 'no protection')
  }
})

t.test('a challenge is told of where there is one', async (t) => {
  const challenged = (answers: Answers): string[] => Object.keys(answers).filter((status) => answers[status]!.headers !== undefined)
  t.strictSame(challenged(await answersOf(t, { tokenVerificationLoader: () => true })), ['401'])
  t.strictSame(challenged(await answersOf(t, { errorProfile: 'rfc6750', tokenVerificationLoader: () => true })), ['400', '401', '403'])
})

t.test('the body is told of where it is ours', async (t) => {
  const message = (key: string): object => ({ type: 'object', properties: { [key]: { type: 'string' } }, required: [key] })
  const plain = await answersOf(t, { errorMessageKey: 'error' })
  t.strictSame([schemaOf(plain, 401), schemaOf(plain, 422)], [message('error'), message('error')])
  const worded = await answersOf(t, { expiredTokenLoader: () => 'Too late' })
  t.strictSame([schemaOf(worded, 401), schemaOf(worded, 422)], [undefined, message('msg')])
  const thrown = await answersOf(t, { throwErrors: true })
  t.strictSame([schemaOf(thrown, 401), schemaOf(thrown, 422)], [undefined, undefined])
  const shared = await answersOf(t, { tokenVerificationLoader: () => true })
  t.equal(schemaOf(shared, 400), undefined, 'Fastify answers 400, too, with a body of its own')
})

t.test('guards of several configurations refuse each in its way', async (t) => {
  const app = await buildDocumented(t)
  await app.register(jwtExtended, { secretKey: SECRET, namespace: 'partner', openapi: true, errorProfile: 'rfc6750', errorMessageKey: 'error' })
  app.get('/', { onRequest: [app.jwtRequired(), app.jwtManager('partner').jwtRequired({ locations: 'query_string' })] }, async () => 'in')
  const document = await documentOf(app)
  t.strictSame(faultsOf(document), [])
  const { responses } = document.paths['/']!['get']!
  t.strictSame(describe(responses), {
    200: 'Default Response',
    400: 'Bad Request: a malformed query parameter',
    401: 'Unauthorized: no token, an expired token, an invalid token, a token of another type',
    422: 'Unprocessable Entity: a malformed header, an invalid token, a token of another type',
  })
  t.match(schemaOf(responses, 401), { anyOf: [{ required: ['msg'] }, { required: ['error'] }] })
})

t.test('missing scopes and roles are refused with 403', (t) => {
  for (const [options, content, headers] of [[{}, true, true], [{ errorProfile: 'rfc6750' }, true, true], [{ throwErrors: true }, false, true]] as const) {
    const settings = readSettings({ secretKey: SECRET, ...options })
    const answers = describeAnswers([{ settings, rule: { ...readRule(undefined, settings), scopes: ['admin'] } }], ['GET'], undefined) as unknown as Answers
    t.equal(answers['403']!.description, 'Forbidden: a token without admin')
    const roles = describeAnswers([{ settings, rule: { ...readRule(undefined, settings), roles: ['admin', 'editor'] } }], ['GET'], undefined) as unknown as Answers
    t.equal(roles['403']!.description, 'Forbidden: a token without one of the roles admin, editor')
    t.strictSame([answers['403']!.content !== undefined, answers['403']!.headers !== undefined], [content, headers])
  }
  t.end()
})
