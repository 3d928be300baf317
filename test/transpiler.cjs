'use strict'

// What tap turns TypeScript into JavaScript with. Each test is a process of its own, and ts-node would compile all
// sources anew in each: here the compiler is asked once for each file, and its answer is kept until the file changes.

const { createHash, randomUUID } = require('node:crypto')
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const ts = require('typescript')

const KEPT = join(__dirname, '../node_modules/.cache/transpiled')

exports.create = function create ({ service }) {
  const compilerOptions = { ...service.config.options, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler }
  mkdirSync(KEPT, { recursive: true })

  return {
    transpile (input, { fileName }) {
      const path = join(KEPT, digestOf(fileName))
      const id = digestOf(ts.version, compilerOptions, fileName, input)
      const kept = read(path)
      if (kept !== undefined && kept.id === id) return kept
      const { outputText, sourceMapText, diagnostics } = ts.transpileModule(input, { fileName, compilerOptions, reportDiagnostics: true })
      if (diagnostics.length === 0) write(path, { id, outputText, sourceMapText })
      return { outputText, sourceMapText, diagnostics }
    },
  }
}

function digestOf (...values) {
  return createHash('sha256').update(JSON.stringify(values)).digest('hex')
}

function read (path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    // Not kept yet.
    return undefined
  }
}

// Under its name only once it is whole: other tests start at the same time.
function write (path, value) {
  const draft = `${path}.${randomUUID()}`
  writeFileSync(draft, JSON.stringify(value))
  renameSync(draft, path)
}
