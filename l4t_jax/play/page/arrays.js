// Flat typed arrays, the last axis fastest: element types as StableHLO names them, shapes and indices.
"use strict";

const Arrays = (() => {
  const ARRAYS = {
    i1: Uint8Array, i8: Int8Array, i16: Int16Array, i32: Int32Array, i64: BigInt64Array,
    ui8: Uint8Array, ui16: Uint16Array, ui32: Uint32Array, ui64: BigUint64Array, f32: Float32Array,
  };
  const bitsOf = element => Number(element.replace(/\D+/, ""));
  // Kinds of elements that are computed alike: b(ool), i(nteger), u(nsigned), f(loat), and B for integers of 64 bits.
  const kindOf = element => element === "i1" ? "b" : bitsOf(element) === 64 ? "B" : element[0];
  const sizeOf = shape => shape.reduce((product, length) => product * length, 1);
  const make = ([element, ...shape]) => new ARRAYS[element](sizeOf(shape));

  /** Distances in a flat array from one index of each axis to the next. */
  function stridesOf(shape) {
    const strides = new Array(shape.length);
    for (let axis = shape.length - 1, step = 1; axis >= 0; axis--) { strides[axis] = step; step *= shape[axis]; }
    return strides;
  }

  /** Calls `visit(index, number)` for every index of a shape, in flat order; `index` is one array, changed in place. */
  function forEachIndex(shape, visit) {
    const index = new Array(shape.length).fill(0), size = sizeOf(shape);
    for (let number = 0; number < size; number++) {
      visit(index, number);
      for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
    }
  }

  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const clamped = (value, low, high) => Math.min(Math.max(value, low), high);

  /** The places that `find(index)` gives for every index of a shape. */
  function places(shape, find) {
    const from = new Int32Array(sizeOf(shape));
    forEachIndex(shape, (index, number) => { from[number] = find(index); });
    return from;
  }

  function decode(text, element) {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    return new ARRAYS[element](bytes.buffer);
  }

  return {ARRAYS, bitsOf, kindOf, sizeOf, make, stridesOf, forEachIndex, places, dot, clamped, decode};
})();
