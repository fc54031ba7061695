// What the panel says below its figures: red first, then what is worth knowing, then what was moved
// to fit Wan. A note's `changes` are what its button writes.

/** `canSet(changes)`: whether the workflow has widgets for all of them. */
export function notesOf(answer, hidden, say, canSet) {
  const { proxy_snap: snap, model } = answer;
  const failed = answer.checks.filter((c) => !c.fits);
  const warned = answer.checks.filter((c) => c.fits && c.text);
  return [
    ...failed.map((check) => ({ kind: "bad", ...mended(check, say, canSet) })),
    ...answer.snapped.map((s) => ({
      kind: "bad", text: say.moved(s.name, s.given, s.used, s.why),
      changes: [{ inputs: { [s.name]: s.used } }],
    })),
    ...(model.source === "unknown" ? [{ kind: "warn", text: say.sentences(modelOf(model, say)) }] : []),
    ...answer.advice.map((a) => ({ kind: "warn", text: say.told(a), changes: [changeOf(a)] })),
    ...warned.map((c) => ({ kind: "warn", text: say.sentences(say.told(c)) })),
    ...(answer.moved ?? []).map((text) => ({ kind: "info", text })),
    ...hidden.map(({ name, node }) => ({ kind: "info", text: say.linked(name, node) })),
    ...(snap ? [{ kind: "info", text: say.moved(say.proxyWidth, snap.given, snap.used, say.wanSides) }] : []),
  ];
}

export const modelOf = ({ label, source }, say) => say.model(label, say.sources[source]);

/** What fails and what mends it: all remedies in one press; where the workflow lacks a node of
 * theirs, what the plan alone can do, too. */
function mended({ remedies, instead, ...check }, say, canSet) {
  const others = instead ? [instead] : [];
  const pressed = [remedies, others].find((some) => pressable(some, canSet));
  const told = pressed === others ? [...remedies, ...others] : remedies;
  return {
    text: say.sentences(...[check, ...told].map(say.told)),
    changes: pressed?.map(changeOf),
  };
}

function pressable(some, canSet) {
  return some.length > 0 && some.every((r) => r.inputs.length) && canSet(some.map(changeOf));
}

function changeOf({ inputs, node }) {
  return { inputs: Object.fromEntries(inputs), node };
}
