// The page: the game, the level, and the two players that play it side by side.
"use strict";

/** The page's state: the game, the level, whether it plays or is edited. */
class Page {
  constructor(games, look) {
    Object.assign(this, {games, look, linked: new Map(), timer: null});
    this.panels = ["student", "teacher"].map(who => new Panel(who, look));
    this.editor = new Editor(this);
    if (games.length > 1) $("tasks").append(...games.map((data, i) => element("button", {textContent: data.name, onclick: () => this.open(i)})));
    $("play").onclick = () => this.play(this.timer === null);
    $("step").onclick = () => { this.play(false); this.editor.close(); this.step(); };
    $("restart").onclick = () => { this.play(false); this.begin(); };
    $("new").onclick = () => this.another();
    $("edit").onclick = () => this.editor.toggle();
    $("speed").oninput = () => { if (this.timer !== null) { this.play(false); this.play(true); } };
    document.addEventListener("keydown", event => this.key(event));
    window.addEventListener("hashchange", () => this.fromAddress());
    new ResizeObserver(() => this.playing.forEach(panel => panel.draw())).observe($("players"));
  }

  /** The panels of the game: without a teacher only the student's. */
  get playing() {
    return this.panels.filter(panel => panel.who === "student" || this.game.data.teacher);
  }

  /** Opens what the address asks for, such as #LavaDoorKey/7: a task and a level counted from 1. */
  fromAddress() {
    const [name, number] = decodeURIComponent(location.hash.slice(1)).split("/");
    const found = this.games.findIndex(data => data.name === name);
    this.open(Math.max(found, 0), found >= 0 && number >= 1 ? Number(number) - 1 : undefined);
  }

  open(index, number) {
    if (!this.linked.has(index)) this.linked.set(index, new Game(this.games[index]));
    this.game = this.linked.get(index);
    const {data} = this.game;
    [...$("tasks").children].forEach((button, i) => button.setAttribute("aria-current", i === index));
    for (const panel of this.panels) panel.sections.forEach(section => { section.hidden = !this.playing.includes(panel); });
    document.querySelectorAll(".players").forEach(grid => grid.classList.toggle("one", !data.teacher));
    $("players").style.setProperty("--cells", Math.max(data.width, data.height));
    $("about").textContent = data.about;
    $("figures").textContent = this.figures(data);
    this.editor.open(this.game);
    this.another(number);
  }

  figures({summary, teacher}) {
    const said = [];
    if (summary) {
      const of = found => `${(100 * found.success).toFixed(1)} %`;
      said.push(`On ${summary.levels.toLocaleString("en")} held-out levels this student succeeds on ${of(summary.student)} after `
        + `${summary.steps.toLocaleString("en")} steps of training`
        + (summary.teacher ? `, the teacher on ${of(summary.teacher)}.` : "."));
    }
    if (teacher) said.push(`The teacher's plans: ${teacher.about || teacher.made}${(teacher.about || "").endsWith(".") ? "" : "."}`);
    if (teacher && summary && !summary.own_teacher) said.push("The student was trained without them.");
    return said.join(" ");
  }

  /** Another held-out level: the one of that number, or any. */
  another(number = Math.floor(Math.random() * this.game.data.levels.number)) {
    const {levels, name} = this.game.data;
    this.play(false);
    number = Math.min(number, levels.number - 1);
    this.level = this.game.level(number);
    $("which").textContent = `Level ${number + 1} of ${levels.number} ${levels.shared ? "" : "held-out "}levels.`;
    history.replaceState(null, "", `#${encodeURIComponent(name)}/${number + 1}`);
    this.editor.showLevel();
    this.begin();
  }

  /** Both begin the level from its start. */
  begin() {
    const {mission} = this.game.data, values = this.level["level.mission"];
    if (mission.text !== undefined) $("mission").textContent = mission.text || "none";
    else {
      const place = mission.fields.reduce((at, [, words], i) => at * words.length + values[i], 0);
      $("mission").textContent = mission.says[place] || mission.fields.map(([name, words], i) => `${name}: ${words[values[i]]}`).join(", ");
    }
    for (const panel of this.playing) panel.begin(this.game, this.level);
  }

  step() {
    const before = this.playing.map(panel => panel.episode.over);
    for (const panel of this.playing) panel.step($("greedy").checked);
    this.playing.forEach((panel, i) => {
      if (panel.episode.over && !before[i]) $("live").textContent = `${panel.who}: ${panel.find(".outcome").textContent}`;
    });
    if (this.playing.every(panel => panel.episode.over)) this.play(false);
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (on) this.editor.close();
    if (on && this.playing.every(panel => panel.episode.over)) this.begin();
    if (on) this.timer = setInterval(() => this.step(), 1000 / $("speed").value);
    $("play").textContent = on ? "Pause" : "Play";
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target.closest("button, input, select, a, canvas[tabindex]");
    const click = id => { event.preventDefault(); $(id).click(); };
    if (event.key === " " && !on) click("play");
    else if (on && on.matches("select")) return;
    else if (["s", "r", "n", "e"].includes(event.key.toLowerCase())) click({s: "step", r: "restart", n: "new", e: "edit"}[event.key.toLowerCase()]);
  }
}

(async () => {
  const complain = words => { $("trouble").textContent = words; $("trouble").hidden = false; };
  if (!("DecompressionStream" in window)) return complain("This page needs a browser of 2023 or later.");
  try {
    const games = await unpack($("games").textContent);
    $("game").hidden = false;
    window.page = new Page(games, JSON.parse($("look").textContent));
    window.page.fromAddress();
  } catch (error) {
    complain(`This page cannot be shown: ${error.message}`);
    throw error;
  }
})();
