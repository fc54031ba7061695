// Nodes in the page's language. The page of ComfyUI 0.3.75 forgets the translations of packs when
// it loads its own; here they are put where it looks next: into the nodes' definitions and labels.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { languageOf } from "./words.js";

let words = {}; // node id -> its entry in locales/<language>/nodeDefs.json

async function load() {
  const language = languageOf(app);
  if (language === "en") return;
  const answer = await api.fetchApi("/i18n");
  if (answer.ok) words = (await answer.json())[language]?.nodeDefs ?? {};
}

function define(definition, said) {
  definition.display_name = said.display_name ?? definition.display_name;
  definition.description = said.description ?? definition.description;
  for (const group of Object.values(definition.input ?? {})) {
    for (const [name, spec] of Object.entries(group ?? {})) {
      const { tooltip } = said.inputs?.[name] ?? {};
      if (tooltip && spec[1]) spec[1].tooltip = tooltip;
    }
  }
  definition.output_tooltips?.forEach((tooltip, i) => {
    definition.output_tooltips[i] = said.outputs?.[i]?.tooltip ?? tooltip;
  });
}

function label(node, said) {
  for (const widget of node.widgets ?? []) {
    const { name } = said.inputs?.[widget.name] ?? {};
    if (name && (widget.label ?? widget.name) === widget.name) widget.label = name;
  }
  for (const input of node.inputs ?? []) {
    input.localized_name = said.inputs?.[input.name]?.name ?? input.localized_name;
  }
  node.outputs?.forEach((output, i) => {
    output.localized_name = said.outputs?.[i]?.name ?? output.localized_name;
  });
}

app.registerExtension({
  name: "AtlasVid.Translate",
  async addCustomNodeDefs(definitions) {
    await load().catch((error) => console.warn("AtlasVid: no translations:", error));
    for (const [id, definition] of Object.entries(definitions)) {
      if (id.startsWith("AtlasVid") && words[id]) define(definition, words[id]);
    }
  },
  nodeCreated(node) {
    const said = node.comfyClass?.startsWith("AtlasVid") && words[node.comfyClass];
    if (said) label(node, said);
  },
});
