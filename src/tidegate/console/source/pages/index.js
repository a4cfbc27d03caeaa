// Which pages are there? By the first part of their path; who may see which is said in shell.py.
import { Audit } from "./audit.js";
import { Batches } from "./batches.js";
import { Cache } from "./cache.js";
import { Evals } from "./evals.js";
import { Experiments } from "./experiments.js";
import { Keys } from "./keys.js";
import { Overview } from "./overview.js";
import { Playground } from "./playground.js";
import { Prompts } from "./prompts.js";
import { Requests } from "./requests.js";
import { Settings } from "./settings.js";
import { Targets } from "./targets.js";
import { WhatIf } from "./whatif.js";

export const PAGES = {
  overview: Overview,
  requests: Requests,
  playground: Playground,
  prompts: Prompts,
  experiments: Experiments,
  keys: Keys,
  batches: Batches,
  cache: Cache,
  evals: Evals,
  whatif: WhatIf,
  settings: Settings,
  targets: Targets,
  audit: Audit,
};
