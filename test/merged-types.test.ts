import t from 'tap'
import { compile, declarationErrorsOf, errorsOf } from './support/compiler.js'
import { root } from './support/pages.js'

// Whoever builds from our sources merges into the types that they are written with. These are as far from ours as they
// can be; none is exported, so that no declaration can name it. A compilation for each takes seconds: hence so few.
const MERGED = {
  'claims of its own types under names of ours': `
    user: string
    identity: User
    claims: {
      sub: User, iss: number, aud: User, exp: string, nbf: string, iat: string, jti: number, type: 1, fresh: string,
      csrf: number, sid: number, gen: string, epoch: string, tenant: string, role?: 'admin' | 'member'
    }
  `,
  'claims of any name': `
    user: User
    identity: string
    claims: { [claim: string]: string }
  `,
} as const

const names = Object.keys(MERGED) as (keyof typeof MERGED)[]
const directory = t.testdir(Object.fromEntries(names.map((name, index) => [`${index}.ts`, `
import type { JwtTypes } from 'fastify-jwt-extended'
interface User { id: number, name: string }
interface Merged { ${MERGED[name]} }
declare module 'fastify-jwt-extended' {
  interface JwtTypes { ${MERGED[name]} }
}
declare const types: JwtTypes
declare function take (merged: Merged): void
take(types)
`])))

for (const [index, name] of names.entries()) {
  t.test(`our sources compile where an application merges ${name}`, async (t) => {
    const program = compile([`${directory}/${index}.ts`, `${root}/lib/store-suite.ts`])
    const sources = program.getSourceFiles().filter((source) => !program.isSourceFileFromExternalLibrary(source) && !source.isDeclarationFile)
    t.ok(sources.some(({ fileName }) => fileName.endsWith('/lib/issue.ts')), 'the sources are what is compiled')
    t.same(errorsOf(program, sources), [])
    t.same(declarationErrorsOf(program, sources), [], 'declarations')
  })
}
