// "Convert to Frameloom" in the menu: the open workflow comes back with Frameloom's nodes, in a tab of its own.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const COMMAND = "Frameloom.Convert";

function say(/** @type {string} */ severity, /** @type {string} */ summary, /** @type {string} */ detail) {
  app.extensionManager.toast.add({ severity, summary, detail, life: 10000 });
}

/**
 * @param {string} verdict
 * @param {{ verdict: string, text: string }[]} lines
 */
function showReport(verdict, lines) {
  const dialog = document.createElement("dialog");
  dialog.style.cssText = "max-width: 80vw; max-height: 80vh; overflow: auto; padding: 1rem";
  const title = document.createElement("h3");
  title.textContent = `Converted to Frameloom: ${verdict}`;
  const text = document.createElement("pre");
  text.style.whiteSpace = "pre-wrap";
  text.textContent = lines.map((line) => line.text).join("\n") || "nothing to convert";
  const close = document.createElement("button");
  close.textContent = "Close";
  close.onclick = () => dialog.close();
  dialog.onclose = () => dialog.remove();
  dialog.append(title, text, close);
  document.body.append(dialog);
  dialog.showModal();
}

async function convert() {
  const graph = app.rootGraph ?? app.graph;
  const response = await api.fetchApi("/frameloom/convert", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(graph.serialize()),
  });
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (answer.error) {
    say("error", "Not converted", answer.error);
    return;
  }
  if (!answer.report.some((/** @type {{ verdict: string }} */ line) => line.verdict !== "left")) {
    say("info", "Nothing to convert", "no node of AnimateDiff-Evolved or of the packs around it was found");
    return;
  }
  const name = app.extensionManager.workflow?.activeWorkflow?.filename ?? "workflow";
  await app.loadGraphData(answer.graph, true, true, `${name} (Frameloom)`);
  showReport(answer.verdict, answer.report);
}

app.registerExtension({
  name: "Frameloom.Convert",
  commands: [{ id: COMMAND, label: "Convert to Frameloom", icon: "pi pi-arrow-right-arrow-left", function: convert }],
  menuCommands: [{ path: ["Edit"], commands: [COMMAND] }],
});
