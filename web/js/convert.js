// "Convert to Frameloom" in the menu: the open workflow comes back with Frameloom's nodes, in a tab of its own.

import { app } from "../../../scripts/app.js";
import { ask, button, make } from "./controls.js";

const COMMAND = "Frameloom.Convert";

function say(severity, summary, detail) {
  app.extensionManager.toast.add({ severity, summary, detail, life: 10000 });
}

/** @param {{ text: string }[]} lines */
function showReport(verdict, lines) {
  const textContent = lines.map((line) => line.text).join("\n") || "nothing to convert";
  const dialog = make("dialog", { onclose: () => dialog.remove() },
    "max-width: 80vw; max-height: 80vh; overflow: auto; padding: 1rem",
    make("h3", { textContent: `Converted to Frameloom: ${verdict}` }),
    make("pre", { textContent }, "white-space: pre-wrap"),
    button("Close", "close", () => dialog.close()));
  document.body.append(dialog);
  dialog.showModal();
}

async function convert() {
  const graph = app.rootGraph ?? app.graph;
  const answer = await ask("convert", JSON.stringify(graph.serialize()));
  if (answer.error) return say("error", "Not converted", answer.error);
  if (!answer.report.some((line) => line.verdict !== "left")) {
    return say("info", "Nothing to convert", "no node of AnimateDiff-Evolved or of the packs around it was found");
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
