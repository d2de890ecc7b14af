// Draws a level as `reporting/render.py` does: MiniGrid's tiles, unseen cells dark. `LOOK` has its colours and codes.
"use strict";

class Drawing {
  /** @param {HTMLCanvasElement} canvas as wide as its element; @param LOOK see `webpage.py` */
  constructor(canvas, look) {
    Object.assign(this, {canvas, look, pen: canvas.getContext("2d")});
  }

  /**
   * @param shape {width, height} cells
   * @param state {cells, seen, agent, carrying} as the programs have them; x first
   * @param {number|null} cursor place x * height + y of a cell to mark
   */
  draw({width, height}, {cells, seen, agent, carrying}, cursor = null) {
    const space = this.canvas.parentElement.clientWidth * (window.devicePixelRatio || 1);
    const tile = Math.max(4, Math.floor(space / Math.max(width, height)));
    this.canvas.width = tile * width;
    this.canvas.height = tile * height;
    for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) this.at(x, y, tile, () => this.cell(cells[x * height + y]));
    const [x, y, direction] = agent;
    this.at(x, y, tile, () => {
      this.agent(direction);
      if (carrying) this.cargo(carrying);
    });
    this.pen.fillStyle = `rgba(0,0,0,${this.look.shade})`;
    for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) {
      if (seen && !seen[x * height + y]) this.pen.fillRect(x * tile, y * tile, tile, tile);
    }
    if (cursor !== null) this.at(Math.floor(cursor / height), cursor % height, tile, () => this.frame(0.05, 0.05, 0.9, 0.9, "#fff", 0.1));
  }

  /** Draws in a cell, whose sides are 1. */
  at(x, y, tile, paint) {
    this.pen.save();
    this.pen.setTransform(tile, 0, 0, tile, x * tile, y * tile);
    paint();
    this.pen.restore();
  }

  box(x, y, width, height, colour) {
    this.pen.fillStyle = colour;
    this.pen.fillRect(x, y, width, height);
  }

  frame(x, y, width, height, colour, thick) {
    this.pen.strokeStyle = colour;
    this.pen.lineWidth = thick;
    this.pen.strokeRect(x + thick / 2, y + thick / 2, width - thick, height - thick);
  }

  disc(x, y, radius, colour) {
    this.pen.fillStyle = colour;
    this.pen.beginPath();
    this.pen.arc(x, y, radius, 0, 2 * Math.PI);
    this.pen.fill();
  }

  shape(points, colour) {
    this.pen.fillStyle = colour;
    this.pen.beginPath();
    points.forEach(([x, y]) => this.pen.lineTo(x, y));
    this.pen.fill();
  }

  cell(code) {
    const {kinds, rgb} = this.look, of = values => `rgb(${values})`;
    const kind = code & 15, values = rgb[Math.min(code >> 4, rgb.length - 1)];
    const colour = of(values), dim = of(values.map(value => Math.floor(0.42 * value)));
    this.box(0, 0, 1, 1, of(this.look.floor));
    this.frame(0, 0, 1, 1, of(this.look.line), 1 / 32);
    if (kind === kinds.wall) this.box(0, 0, 1, 1, of(this.look.wall));
    else if (kind === kinds.floor) this.box(0.04, 0.04, 0.92, 0.92, dim);
    else if (kind === kinds.goal) this.box(0.04, 0.04, 0.92, 0.92, colour);
    else if (kind === kinds.lava) this.lava(of(this.look.lava));
    else if (kind === kinds.door_open) {
      this.box(0.84, 0, 0.16, 1, dim);
      this.frame(0.84, 0, 0.16, 1, colour, 1 / 18);
    } else if (kind === kinds.door_closed) {
      this.frame(0.02, 0.02, 0.96, 0.96, colour, 1 / 14);
      this.box(0.16, 0.16, 0.68, 0.68, dim);
      this.frame(0.16, 0.16, 0.68, 0.68, colour, 1 / 28);
      this.disc(0.72, 0.5, 0.06, colour);
    } else if (kind === kinds.door_locked) {
      this.box(0.02, 0.02, 0.96, 0.96, dim);
      this.frame(0.02, 0.02, 0.96, 0.96, colour, 1 / 12);
      this.disc(0.5, 0.4, 0.1, colour);
      this.shape([[0.5, 0.36], [0.6, 0.72], [0.4, 0.72]], colour);
    } else if (kind === kinds.key) this.key(colour);
    else if (kind === kinds.ball) this.disc(0.5, 0.5, 0.3, colour);
    else if (kind === kinds.box) {
      this.frame(0.15, 0.15, 0.7, 0.7, colour, 1 / 12);
      this.box(0.15, 0.46, 0.7, 0.08, colour);
    }
  }

  lava(colour) {
    this.box(0, 0, 1, 1, colour);
    this.pen.strokeStyle = "rgb(80,30,10)";
    this.pen.lineWidth = 1 / 24;
    for (const row of [0.25, 0.5, 0.75]) {
      this.pen.beginPath();
      for (let i = 0; i <= 24; i++) this.pen.lineTo(0.08 + 0.84 * i / 24, row + 0.05 * Math.sin(i / 24 * 4 * Math.PI));
      this.pen.stroke();
    }
  }

  key(colour) {
    this.box(0.5, 0.4, 0.1, 0.48, colour);
    this.box(0.36, 0.6, 0.14, 0.07, colour);
    this.box(0.36, 0.76, 0.14, 0.07, colour);
    this.pen.strokeStyle = colour;
    this.pen.lineWidth = 0.1;
    this.pen.beginPath();
    this.pen.arc(0.55, 0.3, 0.13, 0, 2 * Math.PI);
    this.pen.stroke();
  }

  agent(direction) {
    const dx = this.look.dx[direction], dy = this.look.dy[direction];
    const corners = [[0.38, 0], [-0.34, 0.32], [-0.34, -0.32]];
    this.shape(corners.map(([a, b]) => [0.5 + a * dx - b * dy, 0.5 + a * dy + b * dx]), `rgb(${this.look.agent})`);
  }

  /** The carried object, as a badge in the corner of the agent's cell. */
  cargo(code) {
    const {kinds, rgb} = this.look;
    const colour = `rgb(${rgb[Math.min(code >> 4, rgb.length - 1)].map(value => Math.floor(0.8 * value))})`;
    this.disc(0.75, 0.75, 0.25, "rgb(250,250,248)");
    if ((code & 15) === kinds.key) {
      this.pen.translate(0.53, 0.51);
      this.pen.scale(0.47, 0.47);
      this.key(colour);
    } else this.disc(0.75, 0.75, 0.125, colour);
  }
}
