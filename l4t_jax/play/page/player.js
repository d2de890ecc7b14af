// One of the two players: its episode, the picture of its level, and what is said of its state.
"use strict";

const $ = id => document.getElementById(id);

/** A probability in %, with a digit more where it is near 0 or 1. */
function percent(value) {
  const digits = value > 0.0005 && value < 0.01 || value > 0.99 && value < 0.9995 ? 1 : 0;
  return (100 * value).toFixed(digits);
}

function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** One of the two players: its map, and what is said of its state. */
class Panel {
  constructor(who, look) {
    Object.assign(this, {who, look, sections: document.querySelectorAll(`[data-who=${who}]`), cursor: null});
    this.canvas = this.find("canvas");
    this.drawing = new Drawing(this.canvas, look);
  }

  /** What the selector finds in either of the player's two sections: the level, and the words below it. */
  find(selector) {
    return document.querySelector(`[data-who=${this.who}] ${selector}`);
  }

  /** Begins an episode. */
  begin(game, level) {
    this.game = game;
    this.episode = new Episode(game, this.who, level);
    this.whose = game.data.teacher ? ["student", "teacher"] : ["student"];
    const head = [element("th", {textContent: "action"}), ...this.whose.map(textContent => element("th", {textContent, scope: "col"}))];
    this.find("thead").replaceChildren(element("tr", {}, head));
    this.rows = this.look.actions.map(name => {
      const cells = this.whose.map(who => {
        const bar = element("i"), number = element("span");
        return element("td", {className: who}, [element("div", {className: "bar"}, [bar, number])]);
      });
      return element("tr", {}, [element("th", {textContent: name, scope: "row"}), ...cells]);
    });
    this.find("tbody").replaceChildren(...this.rows);
    this.find(".facts").hidden = !game.data.teacher;
    this.show();
  }

  show() {
    this.draw();
    const {episode, game} = this, {seen} = episode;
    const outcome = this.find(".outcome");
    outcome.textContent = `step ${episode.t} of ${game.data.max_steps}`;
    if (episode.over) {
      const end = episode.success ? "succeeded" : "failed", reward = episode.reward.toFixed(3);
      outcome.replaceChildren(element("b", {textContent: end, className: episode.success ? "good" : "bad"}),
        ` after ${episode.t} steps, reward ${reward}`);
    }
    if (game.data.teacher) {
      this.find(".sentence").textContent = game.data.sentences[seen.symbolic[0]] || "A state that has no sentence here.";
      const plans = (game.data.plans[seen.row[0]] || []).slice(0, 2);
      this.find(".plans").replaceChildren(...(plans.length ? plans : [["", "The teacher has no plan for this state and acts at random."]]).map(
        ([p, words]) => element("div", {}, [element("span", {textContent: p === "" ? "" : p.toFixed(2)}), element("span", {textContent: words})])));
    }
    const said = {student: seen.probability, teacher: seen.distribution};
    this.rows.forEach((row, action) => {
      row.className = action === episode.action ? "taken" : "";
      this.whose.forEach((who, i) => {
        const bar = row.cells[1 + i].firstChild, p = said[who][action];
        bar.firstChild.style.setProperty("--p", p);
        bar.lastChild.textContent = percent(p);
      });
    });
  }

  /** Draws the level; unseen cells dark, unless the level is being edited. */
  draw() {
    const {state} = this.episode, part = name => state[`state.${name}`];
    const seen = this.canvas.classList.contains("editing") ? null : part("seen");
    this.drawing.draw(this.game.data, {cells: part("cells"), seen, agent: part("agent"), carrying: part("carrying")[0]}, this.cursor);
  }

  step(greedy) {
    if (this.episode.over) return;
    this.episode.step(crypto.getRandomValues(new Uint32Array(1)), greedy, crypto.getRandomValues(new Uint32Array(2)));
    this.show();
  }

  /** The place of the cell under a pointer. */
  cellAt(event) {
    const frame = this.canvas.getBoundingClientRect(), {width, height} = this.game.data;
    const x = Math.floor((event.clientX - frame.left) / frame.width * width), y = Math.floor((event.clientY - frame.top) / frame.height * height);
    return Math.min(Math.max(x, 0), width - 1) * height + Math.min(Math.max(y, 0), height - 1);
  }
}
