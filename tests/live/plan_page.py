"""What tests of VideoPlan's panel ask of the page."""

SET = """([title, values]) => {
  window.app.canvas.emitBeforeChange();
  const node = window.app.graph.nodes.find((n) => n.title === title);
  for (const [name, value] of Object.entries(values)) {
    const w = node.widgets.find((w) => w.name === name);
    w.value = value;
    w.callback?.(value);
  }
  window.app.canvas.emitAfterChange();
}"""
TO_PLAN = """() => {
  const canvas = window.app.canvas;
  const node = window.app.graph.nodes.find((n) => n.title === "Plan");
  canvas.ds.scale = 1;
  canvas.ds.offset = [200 - node.pos[0], 120 - node.pos[1]];
  canvas.bringToFront(node);
  canvas.draw(true, true);
}"""
VALUES = """(title) => {
  const node = window.app.graph.nodes.find((n) => n.title === title);
  const saved = node.widgets.filter((w) => w.serialize !== false);
  return Object.fromEntries(saved.map((w) => [w.name, w.value]));
}"""
STILL = "!document.querySelector('.av-panel[data-state=waiting]')"  # all have their answers
# Until then the panel asks again by itself, and a test could take that answer for its own.
MEASURED = f"""{STILL} && document.querySelector('.av-panel .av-total').textContent &&
  !document.querySelector('.av-panel .av-total').textContent.includes('measuring')"""


def undo(page) -> None:
    """As a user does, the canvas having the keyboard again."""
    page.evaluate("() => document.activeElement?.blur()")
    page.keyboard.press("Control+z")
