import ts from 'typescript'
import { root } from './pages.js'

const { config } = ts.readConfigFile(`${root}/tsconfig.json`, ts.sys.readFile) as { config: { compilerOptions: object } }
const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, noEmit: true, rootDir: '.' }, root)

// What all compilations read is read once.
const host = ts.createCompilerHost(options)
const readSource = host.getSourceFile.bind(host)
const sources = new Map<string, ts.SourceFile | undefined>()
host.getSourceFile = (name, ...rest) => {
  if (!sources.has(name)) sources.set(name, readSource(name, ...rest))
  return sources.get(name)
}

/** A compilation of its own, with the options of the repository. */
export function compile (files: readonly string[]): ts.Program {
  return ts.createProgram({ rootNames: files.map((file) => file.replaceAll('\\', '/')), options, host })
}

function spell (found: readonly ts.Diagnostic[]): string[] {
  return found.map((diagnostic) => ts.formatDiagnostic(diagnostic, {
    getCurrentDirectory: () => root, getCanonicalFileName: (name) => name, getNewLine: () => '\n',
  }))
}

/** What is wrong with the types of some sources. */
export function errorsOf (program: ts.Program, sources: readonly ts.SourceFile[]): string[] {
  return spell([...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics(), ...sources.flatMap((source) => [
    ...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source),
  ])])
}

/** Why no declarations can be made of some sources. */
export function declarationErrorsOf (program: ts.Program, sources: readonly ts.SourceFile[]): string[] {
  return spell(sources.flatMap((source) => program.getDeclarationDiagnostics(source)))
}
