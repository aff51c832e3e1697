// "Convert to Frameloom" in the menu: the open workflow comes back with Frameloom's nodes, in a tab of its own.

import { app } from "../../../scripts/app.js";
import { ask, button, make } from "./controls.js";
import { rootGraph } from "./graph.js";

const COMMAND = "Frameloom.Convert";

/** @param {Conversion} conversion */
function showReport({ verdict, report }) {
  const textContent = report.map((line) => line.text).join("\n");
  const dialog = make("dialog", { onclose: () => dialog.remove() },
    "max-width: 80vw; max-height: 80vh; overflow: auto; padding: 1rem",
    make("h3", { textContent: `Converted to Frameloom: ${verdict}` }),
    make("pre", { textContent }, "white-space: pre-wrap"),
    button("Close", "close", () => dialog.close()));
  document.body.append(dialog);
  dialog.showModal();
}

async function convert() {
  /** @type {Conversion} */
  const answer = await ask("convert", JSON.stringify(rootGraph().serialize()));
  const isEmpty = !answer.report?.some((line) => line.verdict !== "left");
  const detail = answer.error ?? (isEmpty && "no node of AnimateDiff-Evolved or of the packs around it was found");
  if (detail) {
    const [severity, summary] = answer.error ? ["error", "Not converted"] : ["info", "Nothing to convert"];
    return app.extensionManager.toast.add({ severity, summary, detail, life: 10000 });
  }
  const name = app.extensionManager.workflow?.activeWorkflow?.filename ?? "workflow";
  await app.loadGraphData(answer.graph, true, true, `${name} (Frameloom)`);
  showReport(answer);
}

app.registerExtension({
  name: "Frameloom.Convert",
  commands: [{ id: COMMAND, label: "Convert to Frameloom", icon: "pi pi-arrow-right-arrow-left", function: convert }],
  menuCommands: [{ path: ["Edit"], commands: [COMMAND] }],
});
