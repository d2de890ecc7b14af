// The level editor: changes the level that both players begin. `page.js` opens and closes it.
"use strict";

/** Draws levels: walls, doors, things, lava, the agent, and what the mission asks for. */
class Editor {
  constructor(page) {
    Object.assign(this, {page, on: false, tool: "wall", colour: 0});
    for (const panel of page.panels) this.listen(panel);
  }

  /** The tools and fields of a game. */
  open(game) {
    const {targets, mission} = game.data, {tools, colours} = this.page.look;
    const named = [...tools.map(([name]) => name), "agent", ...targets.map(bit => `target ${targets.length > 1 ? bit + 1 : ""}`.trim())];
    this.marks = new Map(targets.map((bit, i) => [named[tools.length + 1 + i], bit]));
    if (!named.includes(this.tool)) this.tool = "wall";
    this.radios($("tools"), named, named.indexOf(this.tool), chosen => { this.tool = named[chosen]; });
    this.radios($("colours"), colours, this.colour, chosen => { this.colour = chosen; });
    $("fields").replaceChildren(...(mission.fields || []).map(([name, words], i) => {
      const select = element("select", {onchange: () => { this.page.level["level.mission"][i] = select.value; this.changed(); }},
        words.map((word, value) => element("option", {textContent: word || "-", value})));
      return element("label", {}, [`mission, ${name} `, select]);
    }));
  }

  radios(place, names, chosen, change) {
    place.replaceChildren(...names.map((name, i) => {
      const input = element("input", {type: "radio", name: place.id, checked: i === chosen, onchange: () => change(i)});
      return element("label", {}, [input, name]);
    }));
  }

  showLevel() {
    const values = this.page.level["level.mission"];
    [...$("fields").querySelectorAll("select")].forEach((select, i) => { select.value = values[i]; });
  }

  toggle() {
    this.on = !this.on;
    this.page.play(false);
    $("editor").hidden = !this.on;
    $("edit").setAttribute("aria-pressed", this.on);
    for (const {canvas} of this.page.panels) {
      canvas.classList.toggle("editing", this.on);
      if (this.on) canvas.tabIndex = 0;
      else canvas.removeAttribute("tabindex");
    }
    this.page.begin();
  }

  close() {
    if (this.on) this.toggle();
  }

  listen(panel) {
    const {canvas} = panel;
    let last = null;
    canvas.addEventListener("pointerdown", event => {
      if (!this.on) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      this.draw(last = panel.cellAt(event));
    });
    canvas.addEventListener("pointermove", event => {
      const place = last === null ? null : panel.cellAt(event);
      if (place !== null && place !== last && this.tool !== "agent") this.draw(last = place);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
    canvas.addEventListener("focus", () => {
      if (!this.on || !canvas.matches(":focus-visible")) return;
      const [x, y] = this.page.level["level.agent"];
      this.move(panel, x, y);
    });
    canvas.addEventListener("blur", () => { panel.cursor = null; panel.draw(); });
    canvas.addEventListener("keydown", event => {
      const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
      if (!this.on || panel.cursor === null || !(step || event.key === "Enter" || event.key === " ")) return;
      event.preventDefault();
      const {height} = panel.game.data;
      if (step) this.move(panel, Math.floor(panel.cursor / height) + step[0], panel.cursor % height + step[1]);
      else {
        this.draw(panel.cursor);
        this.tell(panel);
      }
    });
  }

  move(panel, x, y) {
    const {width, height} = panel.game.data;
    panel.cursor = Math.min(Math.max(x, 0), width - 1) * height + Math.min(Math.max(y, 0), height - 1);
    panel.draw();
    this.tell(panel);
  }

  /** Says what is under the cursor, for those who hear the page. */
  tell(panel) {
    const {height} = panel.game.data, {tools, colours} = this.page.look;
    const code = this.page.level["level.cells"][panel.cursor], x = Math.floor(panel.cursor / height), y = panel.cursor % height;
    const [agentX, agentY] = this.page.level["level.agent"], found = tools.find(([, kind]) => kind === (code & 15));
    const thing = !found ? "floor" : found[2] ? `${colours[code >> 4]} ${found[0]}` : found[0];
    $("live").textContent = `column ${x}, row ${y}: ${x === agentX && y === agentY ? "agent" : thing}`;
  }

  /** Draws with the chosen tool on a cell. */
  draw(place) {
    const {level, look, game} = this.page, {height} = game.data;
    const x = Math.floor(place / height), y = place % height, agent = level["level.agent"], cells = level["level.cells"];
    const onAgent = x === agent[0] && y === agent[1], targets = level["level.targets"];
    if (this.tool === "agent" || onAgent && !this.marks.has(this.tool)) {
      if (onAgent) agent[2] = (agent[2] + 1) % 4;
      else {
        agent[0] = x;
        agent[1] = y;
        cells[place] = look.empty;
      }
    } else if (this.marks.has(this.tool)) targets[place] ^= 1 << this.marks.get(this.tool);
    else {
      const [, kind, coloured, fixed] = look.tools.find(([name]) => name === this.tool);
      cells[place] = coloured ? kind | this.colour << 4 : fixed;
      if (targets) targets[place] = 0;
      if (level["level.contents"]) level["level.contents"][place] = 0;
    }
    this.changed();
  }

  changed() {
    $("which").textContent = "A level of your own.";
    history.replaceState(null, "", location.pathname + location.search);
    this.page.begin();
  }
}
