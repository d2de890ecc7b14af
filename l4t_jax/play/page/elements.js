// What StableHLO's operations do to single elements, as expressions from which loops are made.
"use strict";

const Elements = (() => {
  const {bitsOf, kindOf, clamped} = Arrays;

  // The results are stored in a typed array, which wraps integers and rounds floats. `bits` is the width of an element.
  const EXPRESSIONS = {
    abs: {i: "Math.abs(a)", f: "Math.abs(a)", B: "a<0n?-a:a"},
    add: {b: "a|b", i: "a+b", u: "a+b", f: "a+b", B: "a+b"},
    and: "a&b",
    atan2: {f: "Math.atan2(a,b)"},
    cbrt: {f: "Math.cbrt(a)"},
    ceil: {f: "Math.ceil(a)"},
    cosine: {f: "Math.cos(a)"},
    count_leading_zeros: {i: "h.zeros(a,bits)", u: "h.zeros(a,bits)"},
    divide: {i: "b===0?-1:a/b", u: "b===0?-1:a/b", f: "a/b", B: "b===0n?-1n:a/b"},
    exponential: {f: "Math.exp(a)"},
    exponential_minus_one: {f: "Math.expm1(a)"},
    floor: {f: "Math.floor(a)"},
    is_finite: {f: "Number.isFinite(a)?1:0"},
    log: {f: "Math.log(a)"},
    log_plus_one: {f: "Math.log1p(a)"},
    maximum: {b: "a|b", i: "a>b?a:b", u: "a>b?a:b", f: "Math.max(a,b)", B: "a>b?a:b"},
    minimum: {b: "a&b", i: "a<b?a:b", u: "a<b?a:b", f: "Math.min(a,b)", B: "a<b?a:b"},
    multiply: {b: "a&b", i: "Math.imul(a,b)", u: "Math.imul(a,b)", f: "a*b", B: "a*b"},
    negate: {i: "-a", u: "-a", f: "-a", B: "-a"},
    not: {b: "a^1", i: "~a", u: "~a", B: "~a"},
    or: "a|b",
    popcnt: {i: "h.ones(a,bits)", u: "h.ones(a,bits)"},
    power: {i: "h.power(a,b)", u: "h.power(a,b)", f: "Math.pow(a,b)"},
    remainder: {i: "b===0?a:a%b", u: "b===0?a:a%b", f: "a%b", B: "b===0n?a:a%b"},
    round_nearest_afz: {f: "Math.sign(a)*Math.floor(Math.abs(a)+0.5)"},
    round_nearest_even: {f: "h.even(a)"},
    rsqrt: {f: "1/Math.sqrt(a)"},
    shift_left: {i: "h.wide(b,bits)?0:a<<b", u: "h.wide(b,bits)?0:a<<b", B: "b>=64n?0n:a<<b"},
    shift_right_arithmetic: {i: "h.signed(a,bits)>>(h.wide(b,bits)?31:b)", u: "h.signed(a,bits)>>(h.wide(b,bits)?31:b)"},
    shift_right_logical: {i: "h.wide(b,bits)?0:h.unsigned(a,bits)>>>b", u: "h.wide(b,bits)?0:a>>>b",
      B: "b>=64n?0n:BigInt.asUintN(64,a)>>b"},
    sign: {i: "Math.sign(a)", f: "Math.sign(a)"},
    sine: {f: "Math.sin(a)"},
    sqrt: {f: "Math.sqrt(a)"},
    subtract: {i: "a-b", u: "a-b", f: "a-b", B: "a-b"},
    tan: {f: "Math.tan(a)"},
    tanh: {f: "Math.tanh(a)"},
    xor: "a^b",
  };
  const COMPARISONS = {EQ: "===", NE: "!==", LT: "<", LE: "<=", GT: ">", GE: ">="};

  const oneFloat = new Float32Array(1), itsBits = new Int32Array(oneFloat.buffer);
  const helpers = {
    unsigned: (a, bits) => bits === 32 ? a >>> 0 : a & ((1 << bits) - 1),
    signed: (a, bits) => a << (32 - bits) >> (32 - bits),
    wide: (by, bits) => by < 0 || by >= bits,
    zeros: (a, bits) => Math.clz32(helpers.unsigned(a, bits)) - (32 - bits),
    ones(a, bits) {
      let left = helpers.unsigned(a, bits), count = 0;
      for (; left !== 0; left = (left & (left - 1)) >>> 0) count++;
      return count;
    },
    power(a, b) {
      if (b < 0) return a === 1 ? 1 : a === -1 ? (b % 2 === 0 ? 1 : -1) : 0;
      let result = 1;
      for (let i = 0; i < b; i++) result = Math.imul(result, a);
      return result;
    },
    even(a) {
      const below = Math.floor(a), part = a - below;
      if (part !== 0.5) return Math.round(a);
      return below % 2 === 0 ? below : below + 1;
    },
    whole: (a, low, high) => Number.isNaN(a) ? 0 : clamped(Math.trunc(a), low, high),
    /** The place of a float in the total order: -NaN, -infinity, ..., -0, 0, ..., infinity, NaN. */
    place(a) {
      oneFloat[0] = a;
      return itsBits[0] < 0 ? itsBits[0] ^ 0x7fffffff : itsBits[0];
    },
  };

  function expression(name, element, attributes) {
    const kind = kindOf(element);
    if (name === "compare") {
      const sign = COMPARISONS[attributes.comparison_direction];
      return attributes.compare_type === "TOTALORDER" ? `h.place(a)${sign}h.place(b)?1:0` : `a${sign}b?1:0`;
    }
    const found = EXPRESSIONS[name];
    const text = typeof found === "string" ? found : found && found[kind];
    if (!text) throw new Error(`${name} is not known for ${element}`);
    return text.replaceAll("bits", bitsOf(element));
  }

  function conversion(from, to) {
    const source = kindOf(from), target = kindOf(to), bits = bitsOf(to);
    if (source === target && bits >= bitsOf(from)) return "a";
    if (target === "b") return source === "B" ? "a!==0n?1:0" : "a!==0?1:0";
    if (target === "B") return source === "f" ? "BigInt(Math.trunc(a))" : source === "B" ? "a" : "BigInt(a)";
    if (source === "B") return target === "f" ? "Number(a)" : `Number(BigInt.asIntN(32,a))`;
    if (source !== "f" || target === "f") return "a";
    const [low, high] = target === "u" ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
    return `h.whole(a,${low},${high})`;
  }

  // One function for each purpose and types, so that the engine sees one type of array in each.
  const functions = new Map();
  function compiled(purpose, parameters, body) {
    const key = [purpose, parameters, body].join();
    if (!functions.has(key)) functions.set(key, new Function("h", `return (${parameters})=>{${body}}`)(helpers));
    return functions.get(key);
  }

  return {EXPRESSIONS, expression, conversion, compiled};
})();
