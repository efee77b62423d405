// Reads queries as JSON strings, one a line, from standard input; prints for each whether Grafana's editor grammar reads all of it.
//
//   node parse.mjs FOLDER      FOLDER: where npm has installed @grafana/lezer-logql
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const installed = createRequire(pathToFileURL(join(process.argv[2], 'package.json')));
const grammar = join(dirname(installed.resolve('@grafana/lezer-logql')), 'index.es.js');
const { parser } = await import(pathToFileURL(grammar));

for (const line of readFileSync(0, 'utf8').split('\n')) {
    if (line === '') continue;
    let isWhole = true;
    // The grammar recovers from anything: what it could not read are nodes of errors.
    parser.parse(JSON.parse(line)).iterate({ enter: (node) => { isWhole &&= !node.type.isError; } });
    console.log(isWhole);
}
