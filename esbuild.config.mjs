// Bundles what is shipped, or one entry: `node esbuild.config.mjs src/cli.ts build/cli.mjs`.
//
// One bundle each, because a constant that is imported across modules costs a load and a check at each use. In a bundle
// esbuild declares what was `const` as `var`, and a `var` is a place that V8 reads each time, where it compiles a constant
// in: the path of a trade took 490 ns with the one and 320 with the other. So the declarations get their `const` back; what
// is assigned again after all, or read before it is there, must not, and the first is an error here.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { build, transform } from "esbuild";

/** What `npm run build` makes: the program, and what others import. */
const SHIPPED = [
  ["src/cli.ts", "build/cli.mjs"],
  ["src/client/index.ts", "build/client.mjs"],
  ["src/client/index.ts", "build/client.browser.js"],
  ["src/indicators/index.ts", "build/indicators.mjs"],
  ["src/bot/index.ts", "build/bot.mjs"],
];

/** In a browser nothing of Node is there: what needs it is replaced by what says so when it is called. */
const NODE_ONLY = /\/(node-socket|cursor-file|own-server)\.ts$/;
const ABSENT = `
import { TickwireError } from "./errors.ts";
const absent = () => { throw new TickwireError("not_here", "this needs Node"); };
export { absent as openNodeSocket, absent as openJournalServer, absent as openEmbeddedServer };
export const CursorFile = { open: absent };
`;
const withoutNode = {
  name: "without-node",
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: NODE_ONLY }, ({ resolveDir }) => ({ path: resolveDir, namespace: "without-node" }));
    onLoad({ filter: /./, namespace: "without-node" }, ({ path }) => ({ contents: ABSENT, resolveDir: path }));
  },
};
/** Served as `/client.js`, without the map beside it: a comment that named the map would name what is not there. */
const browser = {
  platform: "browser",
  target: "es2022",
  minify: true,
  plugins: [withoutNode],
  sourcemap: "external",
  // The same numbers by names that a minifier can shorten, and what may go when nobody takes what it returns.
  define: { "Number.NaN": "NaN", "Number.POSITIVE_INFINITY": "Infinity" },
  pure: ["Float64Array.from"],
};

/** A program that imports both has one client, and one kind of its errors. */
const besideClient = {
  name: "beside-client",
  setup: ({ onResolve }) => {
    onResolve({ filter: /\/client\/index\.ts$/ }, ({ kind }) =>
      kind === "entry-point" ? undefined : { path: "./client.mjs", external: true },
    );
  },
};

const node = { platform: "node", target: "node20", packages: "external", minifySyntax: true };
const beside = { ...node, plugins: [besideClient] };

async function bundle(entry, outfile) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: "esm",
    sourcemap: true,
    logLevel: "warning",
    write: false,
    ...(outfile.endsWith(".browser.js") ? browser : outfile.endsWith("bot.mjs") ? beside : node),
  });
  await mkdir(dirname(outfile), { recursive: true });
  for (const { path, text } of outputFiles) {
    if (path.endsWith(".map") || outfile.endsWith(".browser.js")) {
      await writeFile(path, text);
      continue;
    }
    // An enumeration reads itself while it is made.
    const code = text.replace(/^var (?!.*\|\| \{\}\);$)/gm, "const ");
    await transform(code, { logLevel: "error", logOverride: { "assign-to-constant": "error" } });
    await writeFile(path, code);
  }
}

const [entry, outfile] = process.argv.slice(2);
if ((entry === undefined) !== (outfile === undefined)) {
  process.stderr.write("usage: node esbuild.config.mjs [ENTRY OUTFILE]\n");
  process.exit(2);
}
const wanted = entry === undefined ? SHIPPED : [[entry, outfile]];
await Promise.all(wanted.map((each) => bundle(...each)));
