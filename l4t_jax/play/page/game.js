// Plays episodes with a game's programs (`play/programs.py`). Knows nothing of pages, so that node runs it too.
"use strict";

/** A game's programs, parameters and levels, ready to run. */
class Game {
  constructor(data) {
    this.data = data;
    this.programs = Object.fromEntries(Object.entries(data.programs).map(([name, program]) => [name, StableHLO.link(program)]));
    this.types = Object.fromEntries(data.programs.begin.inputs.map(([name, type]) => [name, type]));
    this.weights = Object.fromEntries(Object.entries(data.weights).map(([name, {element, data}]) => [name, decodeFloats(data, element)]));
    const types = new Map(data.programs.observe.inputs);
    this.carry = Object.fromEntries(Object.entries(data.carry).map(([name, text]) => [name, Arrays.decode(text, types.get(name)[0])]));
    this.movesByItself = data.programs.step.inputs.some(([name]) => name === "key");
    this.levels = Object.fromEntries(Object.entries(data.levels.parts).map(([name, text]) => [name, Arrays.decode(text, this.types[name][0])]));
  }

  /** One of the levels that came with the game: {part: typed array}. */
  level(number) {
    return Object.fromEntries(Object.entries(this.levels).map(([name, all]) => {
      const size = all.length / this.data.levels.number;
      return [name, all.slice(number * size, (number + 1) * size)];
    }));
  }

  /** Runs a program; leaves of its results are found by their names, such as "state.cells". */
  run(name, inputs) {
    return this.programs[name](inputs);
  }
}

/** One episode, played by the student or by the teacher. */
class Episode {
  /**
   * @param {Game} game
   * @param {"student"|"teacher"} who
   * @param level from `Game.level`
   */
  constructor(game, who, level) {
    Object.assign(this, {game, who, t: 0, reward: 0, action: null, success: false, over: false});
    this.state = game.run("begin", level);
    this.carry = game.carry;
    this.look();
  }

  /** Finds what student and teacher say of the state: their probabilities, the symbolic state, the row of plans. */
  look() {
    const start = Uint8Array.of(this.t === 0 ? 1 : 0);
    this.seen = this.game.run("observe", {...this.state, ...this.carry, ...this.game.weights, start});
    this.logits = this.who === "student" ? this.seen.logits : this.seen.teacher_logits;
  }

  /**
   * One step.
   * @param {Uint32Array} bits one random word that the action is drawn with
   * @param {boolean} greedy take the most probable action instead
   * @param {Uint32Array} key two random words, for what moves by itself
   */
  step(bits, greedy, key) {
    const chosen = this.game.run("choose", {logits: this.logits, bits, greedy: Uint8Array.of(greedy ? 1 : 0)});
    const t = Int32Array.of(this.t);
    const after = this.game.run("step", {...this.state, t, action: chosen.action, ...(this.game.movesByItself ? {key} : {})});
    this.state = leaves(after, "state");
    this.carry = leaves(this.seen, "carry");
    this.action = chosen.action[0];
    this.lastReward = after.reward[0];
    this.reward += after.reward[0];
    this.success = this.success || after.success[0] === 1;
    this.over = after.terminated[0] === 1 || after.truncated[0] === 1;
    this.t += 1;
    this.look();
  }
}

/** The leaves of a result that lie below a name. */
function leaves(result, name) {
  return Object.fromEntries(Object.entries(result).filter(([key]) => key === name || key.startsWith(`${name}.`)));
}

/** Base64 of float32 or float16 as a Float32Array. */
function decodeFloats(text, element) {
  if (element === "f32") return Arrays.decode(text, "f32");
  return Float32Array.from(Arrays.decode(text, "ui16"), half => {
    const exponent = half >> 10 & 31, fraction = half & 1023, sign = half >> 15 ? -1 : 1;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  });
}

/** The games that the page brings: gzipped JSON in base64. */
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
