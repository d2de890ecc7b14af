// Runs the programs that `play/stablehlo.py` writes: StableHLO operations on typed arrays.
//
// `StableHLO.link(program)` makes a function of {input name: typed array} that gives {output name: typed array}. Arrays
// are flat, the last axis fastest; nobody may write into one that was passed in or came out, as results may share memory.
// What depends on constants alone is computed once, in `link`. The specification of every operation:
// https://openxla.org/stablehlo/spec
"use strict";

const StableHLO = (() => {
  const {ARRAYS, sizeOf} = Arrays;
  const {EXPRESSIONS, expression, conversion, compiled} = Elements;
  const {MOVES, OPERATIONS, placed} = Operations;

  function elementwise(text, [p, q], [out], [type], types) {
    const body = `for(let i=0;i<n;i++){const a=x[i]${q === undefined ? "" : ",b=y[i]"};o[i]=${text};}`;
    const each = compiled([...types, type[0]], "x,y,o,n", body);
    const array = ARRAYS[type[0]], size = sizeOf(type.slice(1));
    return v => { const o = new array(size); each(v[p], v[q], o, size); v[out] = o; };
  }

  /** One function of a program; `functions(name, types)` finds the others. */
  class Linked {
    constructor(block, types, functions) {
      this.functions = functions;
      this.types = [];  // of every value
      this.constants = [];  // the values that depend on nothing, each in its place
      this.arguments = block.args;
      this.results = block.results;
      types.forEach((type, i) => { this.types[block.args[i]] = type; });
      this.steps = this.block(block);
    }

    call(given) {
      const v = this.constants.slice();
      for (let i = 0; i < given.length; i++) v[this.arguments[i]] = given[i];
      for (const step of this.steps) step(v);
      return this.results.map(value => v[value]);
    }

    /** The steps of a block, each a function of all values. */
    block({ops}) {
      const steps = [];
      for (const [name, operands, results, types, attributes, blocks] of ops) {
        types.forEach((type, i) => { this.types[results[i]] = type; });
        const step = this.operation({name, operands, results, types, attributes, blocks});
        if (!blocks.length && name !== "call" && operands.every(value => value in this.constants)) step(this.constants);
        else steps.push(step);
      }
      return steps;
    }

    /** A block as a function of all values and its arguments; gives its results. */
    inner(block, types) {
      types.forEach((type, i) => { this.types[block.args[i]] = type; });
      const steps = this.block(block), {args, results} = block;
      return (v, given) => {
        for (let i = 0; i < args.length; i++) v[args[i]] = given[i];
        for (let i = 0; i < steps.length; i++) steps[i](v);
        return results.map(value => v[value]);
      };
    }

    operation(one) {
      const {name, operands, results, types, attributes} = one;
      const given = operands.map(value => this.types[value]);
      const [p, q, r] = operands, [out] = results, type = types[0];
      if (name in MOVES) {
        const at = {shape: type.slice(1), operand: given[0].slice(1), attributes};
        return placed(MOVES[name](at), p, out, type, name === "pad" ? q : undefined);
      }
      if (name in EXPRESSIONS || name === "compare") {
        return elementwise(expression(name, given[0][0], attributes), operands, results, types, given.map(t => t[0]));
      }
      if (name === "convert") return elementwise(conversion(given[0][0], type[0]), operands, results, types, [given[0][0]]);
      if (name in OPERATIONS) return OPERATIONS[name].call(this, {...one, given, p, q, r, out, type, shape: type && type.slice(1)});
      throw new Error(`StableHLO's ${name} is not known here`);
    }

    /** The expression of a block that does one thing to its two arguments `a` and `b`; null of others. */
    simple(block, element) {
      const [first, second] = block.args;
      if (block.args.length !== 2 || block.ops.length > 1) return null;
      if (!block.ops.length) return block.results[0] === second ? "b" : null;
      const [name, operands, [result], , attributes] = block.ops[0];
      const straight = operands[0] === first && operands[1] === second, turned = operands[0] === second && operands[1] === first;
      if (result !== block.results[0] || !(name in EXPRESSIONS) || !(straight || turned)) return null;
      const commutes = ["add", "and", "maximum", "minimum", "multiply", "or", "xor"].includes(name);
      return straight || commutes ? expression(name, element, attributes) : null;
    }

    /** A block of 2n scalars as a function (all values, n arrays of one element, n others) -> n such arrays. */
    combine(block, elements) {
      const run = this.inner(block, [...elements, ...elements].map(element => [element]));
      return (v, before, next) => run(v, [...before, ...next]);
    }
  }

  /** A program as a function of {input name: typed array}; gives {output name: typed array}. */
  function link(program) {
    const linked = new Map();
    const find = (name, types) => {
      if (!linked.has(name)) linked.set(name, new Linked(program.functions[name], types, find));
      return linked.get(name);
    };
    const main = find("main", program.inputs.map(([, type]) => type));
    return inputs => {
      const given = program.inputs.map(([name, [element, ...shape], used]) => {
        const array = inputs[name];
        if (!used) return undefined;
        if (!(array instanceof ARRAYS[element]) || array.length !== sizeOf(shape)) {
          throw new Error(`${name} must be ${element}[${shape}]`);
        }
        return array;
      });
      const results = main.call(given);
      return Object.fromEntries(program.outputs.map(([name], i) => [name, results[i]]));
    };
  }

  const operations = () => [...Object.keys(EXPRESSIONS), ...Object.keys(MOVES), ...Object.keys(OPERATIONS), "compare", "convert"].sort();
  return {link, operations};
})();
