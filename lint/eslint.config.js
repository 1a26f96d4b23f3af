// Rules for the scripts of the pages. Python puts several files into one function, so a name that one of them
// declares at its top is known in the others.
import { readdirSync, readFileSync } from "node:fs";
import js from "@eslint/js";
import globals from "globals";

const ROOT = new URL("..", import.meta.url);
const EXPLORER = "medsam_utils/book/explorer/";
const declaration = /^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)/gm;

const files = readdirSync(new URL(EXPLORER, ROOT), { recursive: true }).filter((file) => file.endsWith(".js"));
const texts = Object.fromEntries(files.map((file) => [file, readFileSync(new URL(EXPLORER + file, ROOT), "utf8")]));

/** Names that a file declares at its top. */
const declared = (file) => [...texts[file].matchAll(declaration)].map((found) => found[1]);

/** Those of them that another file uses. */
const used = (file) =>
  declared(file).filter((name) => files.some((other) => other !== file && RegExp(`\\b${name}\\b`).test(texts[other])));

const rules = {
  ...js.configs.recommended.rules,
  eqeqeq: ["error", "smart"],
  "no-var": "error",
  "prefer-const": ["error", { destructuring: "all" }],
};

export default [
  ...files.map((file) => ({
    files: [EXPLORER + file],
    languageOptions: {
      globals: {
        ...globals.browser,
        ort: false, // ONNX Runtime Web
        UTIF: false, // what reads files in a worker
        UPNG: false,
        daikon: false,
        page: false, // what Python says to own/start.js
        ...Object.fromEntries(files.filter((other) => other !== file).flatMap(declared).map((name) => [name, false])),
      },
    },
    rules: { ...rules, "no-unused-vars": ["error", { ignoreRestSiblings: true, varsIgnorePattern: `^(${used(file).join("|")})$` }] },
  })),
  { files: ["book/site/*.js"], languageOptions: { sourceType: "script", globals: globals.browser }, rules },
];
