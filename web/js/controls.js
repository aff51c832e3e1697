// What editors are made of: elements of the page in the editor's colours, and questions to our routes.

import { api } from "../../../scripts/api.js";

export const CONTROL =
  "box-sizing: border-box; min-width: 0; height: 22px; margin: 0; padding: 0 5px; font: inherit; color: inherit;" +
  "border: 1px solid var(--border-color); border-radius: 4px; background: var(--comfy-input-bg);";
export const ROW = "display: flex; flex: none; min-width: 0; align-items: center; gap: 4px;";

/**
 * Make an element; a screen reader says its title.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} given - its properties
 * @param {...(string | Node)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, given = {}, style = "", ...children) {
  const made = Object.assign(document.createElement(tag), given);
  if (style) made.style.cssText = style;
  if (given.title) made.ariaLabel = given.title;
  made.append(...children);
  return made;
}

/** @type {Fields["button"]} */
export function button(textContent, title, onclick) {
  return make("button", { type: "button", textContent, title, onclick }, `${CONTROL} flex: none; cursor: pointer`);
}

/** Make a field; `then` hears of what was typed into it. @type {Fields["field"]} */
export function field(given, style, then) {
  const made = make("input", given, `${CONTROL} ${style}`);
  made.onchange = () => then(made);
  return made;
}

/** Make a line for what there is to say; a screen reader says it when it changes. @param {string} style */
export function notice(style) {
  return make("div", { role: "status" }, `flex: none; overflow: auto; white-space: pre-wrap; ${style}`);
}

/** Show a value in a field, unless somebody types there. @param {HTMLInputElement} field @param {string | number} value */
export function put(field, value) {
  if (document.activeElement !== field) field.value = String(value);
}

/** Ask a route of ours; where nothing comes back, the answer is an error. @param {string} route @param {string} [body] */
export async function ask(route, body, silence = "") {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  const response = await api.fetchApi(`/frameloom/${route}`, request).catch(() => null);
  const answer = await response?.json().catch(() => null);
  return answer ?? { error: `The server ${response ? `answered ${response.status}` : "does not answer"}. ${silence}` };
}

/** Return where a file of the server's can be fetched. @param {ServerFile} file */
export const addressOf = (file) => api.apiURL(`/view?${new URLSearchParams({ ...file })}`);
