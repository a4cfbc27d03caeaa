// Which pages are there? By the first part of their path; who may see which is said in shell.py.
import { Overview } from "./overview.js";
import { Playground } from "./playground.js";
import { Requests } from "./requests.js";

export const PAGES = {
  overview: Overview,
  requests: Requests,
  playground: Playground,
};
