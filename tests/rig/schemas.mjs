// Prints the schemas that the conformance suite carries, as one JSON object of revision to schema.
// They are object literals in its bundle; what comes out is checked against pinned digests by schemas.py.
import { readFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';

const bundle = readFileSync(process.argv[2], 'utf8');
const table = /const \w+=(\{"2025-03-26":[^}]*\});/.exec(bundle)[1];

function literal(name) {
  const start = bundle.indexOf(`${name}={$schema:`) + name.length + 1;
  for (let at = start, depth = 0, quote = ''; ; at++) {
    const c = bundle[at];
    if (quote) {
      if (c === '\\') at++;
      else if (c === quote) quote = '';
    } else if ('`"\''.includes(c)) quote = c;
    else if (c === '{') depth++;
    else if (c === '}' && --depth === 0) return runInNewContext(`(${bundle.slice(start, at + 1)})`);
  }
}

const schemas = {};
for (const [, key, name] of table.matchAll(/(?:"([\d-]+)"|\[\w+\]):(\w+)/g)) schemas[key ?? 'newest'] = literal(name);
process.stdout.write(JSON.stringify(schemas));
